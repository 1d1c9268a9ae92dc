"""A study whose search has ended, and whose final round has not, or is trained again."""

from argparse import Namespace
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from raytune_yesno.commands.resume_changes import change_space
from raytune_yesno.config import build_config
from raytune_yesno.errors import InputError
from raytune_yesno.space import Float
from raytune_yesno.study import Study, load
from raytune_yesno.study.store import StudyStore
from raytune_yesno.tuning.continuation import compare_plans, continue_study
from raytune_yesno.tuning.plan import Plan
from raytune_yesno.tuning.resume import resume_trials
from raytune_yesno.tuning.run import run_search

SPACE = {"learning_rate": Float(1e-7, 1e-5, log=True)}
ABOUT = {"host": "here", "pid": 1, "seconds": 0.1, "began": 1.0, "ended": 1.1}
REASON = "stopped by request"


def write_study(
    folder: Path, *, finished: bool = False, failed: Collection[int] = (), **settings: Any
) -> Study:
    """Write a study of 32 trials whose search ended after 10, and whose final round of 4 began.

    Args:
        folder: the folder of the study.
        finished: whether its final round and its refit are done.
        failed: the numbers of trials that failed.
        **settings: other settings of the plan.
    """
    config = build_config({"task": "sine", "epochs": 1})
    plan = Plan(config, SPACE, search="random", scheduler="fifo", trials=32)
    plan = replace(plan, final_round={"points": 2, "seeds": 2}, **settings)
    store = StudyStore(folder)
    store.append("study", data="", corpus={}, slots=1, **plan.as_dict())

    def train(number: int, value: float, **fields: Any) -> None:
        point = {"learning_rate": 1e-7 * (fields.get("repeat_of", number) + 1)}
        store.append("asked", trial=number, point=point, **fields)
        store.append("started", trial=number, attempt=1)
        if number not in failed:
            values = {"valid_loss": value, "train_loss": 1.0}
            store.append("epoch", trial=number, attempt=1, epoch=1, **values, **ABOUT)
        store.append("ended", trial=number, status="failed" if number in failed else "done")

    for number in range(10):
        train(number, 1.0 + number)
    store.append("requested", request="1.json", action="stop search")
    store.append("final", points=[0, 1], first=10, reason=REASON)
    pairs = [(seed, first) for seed in (10007, 20014) for first in (0, 1)]
    for number, (seed, first) in enumerate(pairs, start=10):
        if finished or number == 10:
            train(number, 1.0, repeat_of=first, seed=seed, final=True)
    if finished:
        store.append("searched", reason=REASON)
        store.append("refitted", epochs=1, trial=0)
    else:
        store.append("paused")
    return load(folder)


def resume(study: Study, *, add_trials: int = 0, retry: Collection[int] = ()) -> Study:
    """Record a resumption as ``run_search`` does, without its trials."""
    plan = Plan.from_study(study)
    if add_trials:
        plan = plan.extend(study, add_trials)
    else:
        plan = replace(plan, trials=study.num_proposed)
    store = StudyStore(study.path)
    return resume_trials(study, plan, store, 1, None, print, retry=retry, extend=())


@pytest.mark.parametrize("finished", [False, True])
@pytest.mark.parametrize("count", [8, 22])
def test_trials_are_added_to_those_that_the_search_proposed(
    count: int, finished: bool, tmp_path: Path
) -> None:
    study = write_study(tmp_path, finished=finished)
    assert study.has_search_ended
    assert Plan.from_study(study).extend(study, count).trials == 10 + count
    after = resume(study, add_trials=count)
    assert not after.has_search_ended
    assert after.finalists is None
    assert after.reason is None
    assert after.counts_from > 0


def test_a_resumed_final_round_keeps_its_finalists_and_why_the_search_ended(
    tmp_path: Path,
) -> None:
    study = write_study(tmp_path)
    after = resume(study)
    assert after.finalists == [0, 1]
    assert after.reason == REASON
    assert after.counts_from == 0
    StudyStore(tmp_path).append("searched")
    assert load(tmp_path).reason == REASON


def test_a_trial_that_is_retried_does_not_bring_back_those_that_a_stop_left_out(
    tmp_path: Path,
) -> None:
    after = resume(write_study(tmp_path, failed=(3,)), retry=[3])
    assert after.finalists is None  # one more result: chosen again
    assert after.settings["trials"] == 10
    assert [trial.number for trial in after.trial_list if trial.status == "running"] == [3]


def test_a_failed_training_of_the_final_round_alone_is_retried(tmp_path: Path) -> None:
    after = resume(write_study(tmp_path, finished=True, failed=(13,)), retry=[13])
    assert after.finalists == [0, 1]
    assert after.reason == REASON
    assert not after.searched


def test_what_needs_more_trials_is_refused_in_the_final_round(tmp_path: Path) -> None:
    study = write_study(tmp_path / "study")
    (tmp_path / "new.yaml").write_text("learning_rate: {float: [5e-7, 1e-5], log: true}\n")
    options = Namespace(space=str(tmp_path / "new.yaml"), add_trials=None)
    with pytest.raises(InputError, match="--add-trials"):
        change_space(Plan.from_study(study), study, options)


class TestCall:
    """The function ``tune`` is called again with the arguments that began the study."""

    @pytest.mark.parametrize("finished", [False, True])
    def test_it_adds_no_trial_that_a_stop_left_out(self, finished: bool, tmp_path: Path) -> None:
        asked = Plan.from_study(write_study(tmp_path, finished=finished, failed=(13,)))
        resume(load(tmp_path), retry=[13] if finished else ())
        found = continue_study(
            asked, tmp_path, None, storage="", advice="", extends=True, note=print
        )
        assert found is not None
        assert found.add_trials == 0

    def test_more_trials_than_ever_asked_for_are_added(self, tmp_path: Path) -> None:
        asked = Plan.from_study(write_study(tmp_path, finished=True))
        resume(load(tmp_path), add_trials=8)
        for number in range(14, 22):
            StudyStore(tmp_path).append("asked", trial=number, point={"learning_rate": 1e-6})
        StudyStore(tmp_path).append("searched")
        asked = replace(asked, trials=40)
        found = continue_study(
            asked, tmp_path, None, storage="", advice="", extends=True, note=print
        )
        assert found is not None
        assert found.add_trials == 22

    @pytest.mark.parametrize("extends", [False, True])
    def test_the_settings_of_the_beginning_are_accepted_after_an_extension(
        self, extends: bool, tmp_path: Path
    ) -> None:
        study = write_study(tmp_path, finished=True)
        asked, other = Plan.from_study(study), {"points": 3, "seeds": 3}
        StudyStore(tmp_path).append("resumed", slots=1, trials=40, final_round=other)
        study = load(tmp_path)
        assert not list(compare_plans(asked, study, None, extends=extends))
        more = replace(asked, final_round={"points": 1, "seeds": 2})
        if not extends:
            assert list(compare_plans(more, study, None))
        found = continue_study(
            asked, tmp_path, None, storage="", advice="", extends=extends, note=print
        )
        assert found is not None
        assert found.plan.final_round == other


@pytest.mark.ray
@pytest.mark.usefixtures("ray_cluster")
def test_an_interrupted_final_round_is_finished_alone(tmp_path: Path) -> None:
    study = write_study(tmp_path)
    after = run_search(Plan.from_study(study), None, tmp_path, resume=True)
    assert [trial.number for trial in after.trial_list if trial.final] == [10, 11, 12, 13]
    assert after.num_proposed == 10
    assert after.searched
    assert after.reason == REASON
