"""Trials called as Ray Tune calls them, but without Tune: one worker, in this process."""

from pathlib import Path
from typing import Any

import pytest
import ray
import torch
from ray import tune
from ray.train._internal.storage import StorageContext

from raytune_yesno.checkpoint import load_checkpoint
from raytune_yesno.config import Config, build_config
from raytune_yesno.tasks.speech.corpus import Corpus
from raytune_yesno.training.loop import fit
from raytune_yesno.tuning.ranks import StudyPayload, TrialSpec, seal
from raytune_yesno.tuning.trial import TrialActor

pytestmark = pytest.mark.ray

CONFIG = build_config({"channels": (4, 8), "hidden_units": 16, "epochs": 4, "dropout": 0.3})
QUICK: TrialSpec = {"number": 0, "point": {"learning_rate": 0.01}, "checkpoint": None}
SLOW: TrialSpec = {
    "number": 1,
    "point": {"learning_rate": 0.001, "batch_size": 4},
    "checkpoint": None,
}


@pytest.fixture
def build_trial(ray_cluster: str, small_corpus: Corpus) -> Any:
    payload = StudyPayload(seal(CONFIG), ray.put(small_corpus))
    return tune.with_parameters(TrialActor, payload=payload)


def curve(config: Config, launch: TrialSpec, corpus: Corpus) -> list[dict[str, Any]]:
    """Return the metrics of the training loop, without the seconds."""
    whole = build_config(config.as_dict(), launch["point"])
    curves = [{**record.metrics, "seconds": 0} for record in fit(whole, corpus)]
    return [{key: epoch[key] for key in epoch if key != "world_size"} for epoch in curves]


def take(trial: TrialActor, steps: int) -> list[dict[str, Any]]:
    """Take several steps and return their metrics, without the seconds."""
    results = [trial.step() for _ in range(steps)]
    keys = ("epoch", "train_loss", "valid_loss", "valid_wer", "learning_rate")
    assert [result["done"] for result in results] == [
        result["epoch"] == CONFIG.epochs for result in results
    ]
    return [{**{key: result["record"][key] for key in keys}, "seconds": 0} for result in results]


def test_a_trial_trains_what_the_loop_trains(build_trial: Any, small_corpus: Corpus) -> None:
    assert take(build_trial(config=QUICK), 4) == curve(CONFIG, QUICK, small_corpus)


def test_a_reused_trial_is_as_good_as_new(build_trial: Any, small_corpus: Corpus) -> None:
    trial = build_trial(config=QUICK)
    take(trial, 2)  # interrupted, as by a scheduler
    assert trial.reset_config(SLOW)
    assert take(trial, 4) == curve(CONFIG, SLOW, small_corpus)


def test_a_trial_saved_and_loaded_ends_in_the_same_bits(
    build_trial: Any, small_corpus: Corpus, tmp_path: Path
) -> None:
    first, second, third = (build_trial(config=QUICK) for _ in range(3))
    whole = take(first, 4)
    first.save_checkpoint(str(tmp_path / "whole"))
    take(second, 2)
    second.save_checkpoint(str(tmp_path / "half"))

    third.load_checkpoint(str(tmp_path / "half"))
    assert take(third, 2) == whole[2:]
    third.save_checkpoint(str(tmp_path / "rest"))
    whole_weights, rest = (load_checkpoint(tmp_path / name) for name in ("whole", "rest"))
    torch.testing.assert_close(whole_weights.state_dict, rest.state_dict, rtol=0, atol=0)
    torch.testing.assert_close(whole_weights.optimizer, rest.optimizer, rtol=0, atol=0)


def test_a_launch_may_name_the_checkpoint_to_resume_from(
    build_trial: Any, small_corpus: Corpus, tmp_path: Path
) -> None:
    first = build_trial(config=QUICK)
    take(first, 3)
    first.save_checkpoint(str(tmp_path / "three"))
    second = build_trial(config={**QUICK, "checkpoint": str(tmp_path / "three")})
    assert take(second, 1) == curve(CONFIG, QUICK, small_corpus)[3:]


def test_a_diverged_trial_is_done(build_trial: Any) -> None:
    point = {"optimizer": "sgd", "learning_rate": 1e30}
    trial = build_trial(config={"number": 2, "point": point, "checkpoint": None})
    result = trial.step()
    assert result["diverged"]
    assert result["done"]
    assert result["epoch"] == 1


def test_a_trial_that_was_cut_off_saves_beside_its_successor(
    build_trial: Any, tmp_path: Path
) -> None:
    folders = set()
    for _ in range(2):  # the trial and its replacement, both with Tune's last known state
        storage = StorageContext(
            str(tmp_path), "trials", trial_dir_name="trial", current_checkpoint_index=4
        )
        trial = build_trial(QUICK, storage=storage)
        trial.step()
        folders.add(trial.save().checkpoint.path)
        trial.cleanup()
    assert len(folders) == 2
    assert {load_checkpoint(Path(folder)).epoch for folder in folders} == {1}
