"""Which trials can be replayed, without a cluster."""

from pathlib import Path

import pytest

from raytune_yesno.config import build_config
from raytune_yesno.errors import InputError
from raytune_yesno.space import Float
from raytune_yesno.study import Study, load
from raytune_yesno.study.store import StudyStore
from raytune_yesno.tuning.plan import Plan
from raytune_yesno.tuning.replay import describe_versions, find_replayable


@pytest.fixture
def study(tmp_path: Path) -> Study:
    """Return a study whose trial 0 trained an epoch, 1 none, and 2 was copied over."""
    space = {"learning_rate": Float(1e-4, 1e-2)}
    plan = Plan(build_config({"seed": 3, "epochs": 8}), space, "random")
    store = StudyStore(tmp_path)
    versions = {"torch": "1.0", "unknown": "1.0"}
    store.append("study", data="synthetic:10", versions=versions, **plan.as_dict())
    for trial in range(3):
        store.append("asked", trial=trial, point={"learning_rate": 0.001 * (trial + 1)})
    for trial in (0, 2):
        where = {"host": "here", "pid": 1, "seconds": 1.0, "began": 0.0, "ended": 1.0}
        store.append("epoch", trial=trial, attempt=1, epoch=1, valid_loss=1.0, **where)
    point = {"learning_rate": 0.005}
    store.append("mutated", trial=2, epoch=1, source=0, point=point, checkpoint="c")
    return load(tmp_path)


def test_a_trial_is_found_with_its_config(study: Study) -> None:
    trial, config = find_replayable(study, 0)
    assert trial.number == 0
    assert (config.learning_rate, config.seed, config.epochs) == (0.001, 3, 8)


@pytest.mark.parametrize(
    ("number", "message"),
    [
        (3, "no trial 3; they are 0 to 2"),
        (-1, "no trial -1"),
        (1, "trial 1 has no epoch"),
        (2, "pbt copied trial 0 over trial 2 at epoch 1"),
    ],
)
def test_others_are_refused_with_the_reason(study: Study, number: int, message: str) -> None:
    with pytest.raises(InputError, match=message):
        find_replayable(study, number)


def test_other_versions_are_named(study: Study) -> None:
    assert describe_versions(study).startswith("torch 1.0 then and ")
