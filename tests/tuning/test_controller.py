"""Our controller handles lost and starting actors of Ray Tune."""

import os
import time
from pathlib import Path
from typing import Any

import pytest
from ray import tune
from ray.air.execution import FixedResourceManager, ResourceRequest
from ray.air.execution._internal.tracked_actor_task import TrackedActorTask
from ray.exceptions import OutOfMemoryError, RayActorError
from ray.tune.search import Searcher

from raytune_yesno.tuning.controller import ActorManager, our_controller


@pytest.mark.ray
@pytest.mark.usefixtures("ray_cluster")
def test_an_actor_killed_for_memory_is_a_lost_actor() -> None:
    class Nothing:
        pass

    manager = ActorManager(FixedResourceManager({"CPU": 1}))
    told: list[Exception] = []
    actor = manager.add_actor(
        Nothing,
        {},
        ResourceRequest([{"CPU": 1}]),
        on_error=lambda _, error: told.append(error),
    )
    while not manager.is_actor_started(actor):
        assert manager.next(timeout=60)
    manager._actor_task_failed(
        tracked_actor_task=TrackedActorTask(actor), exception=OutOfMemoryError("memory ran low")
    )
    (error,) = told
    assert isinstance(error, RayActorError)
    assert str(error) == "memory ran low"


@pytest.mark.ray
@pytest.mark.usefixtures("ray_cluster")
def test_an_actor_that_starts_is_not_ended_because_another_is_free(tmp_path: Path) -> None:
    class Starting(tune.Trainable):  # type: ignore[misc]
        """Trials end at once; the first trial's actor takes as long to start as eight trials."""

        def setup(self, config: dict[str, Any]) -> None:
            while config["number"] == 0 and len(list(ran.iterdir())) < 8:
                time.sleep(0.01)
            self.started_for = config["number"]

        def step(self) -> dict[str, Any]:
            while self.config["number"] > 8 and not (ran / "0").exists():
                time.sleep(0.01)  # at the end of the search, trial 0 would get a cached actor
            (ran / str(self.config["number"])).write_text(str(self.started_for))
            return {"done": True}

        def reset_config(self, new_config: dict[str, Any]) -> bool:
            self.config = new_config
            return True

    class Counting(Searcher):  # type: ignore[misc]
        number = -1

        def suggest(self, trial_id: str) -> dict[str, Any]:
            self.number += 1
            return {"number": self.number}

        def on_trial_complete(self, trial_id: str, *_: Any, **__: Any) -> None:
            pass

    ran = tmp_path / "ran"
    ran.mkdir()
    tuner = tune.Tuner(
        Starting,
        tune_config=tune.TuneConfig(
            search_alg=Counting(), num_samples=12, max_concurrent_trials=3, reuse_actors=True
        ),
        run_config=tune.RunConfig(
            storage_path=str(tmp_path / "tune"),
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            verbose=0,
        ),
    )
    with our_controller():
        tuner.fit()
    started_for = {int(file.name): int(file.read_text()) for file in ran.iterdir()}
    assert sorted(started_for) == list(range(12))
    assert started_for[0] == 0


@pytest.mark.ray
@pytest.mark.usefixtures("ray_cluster")
def test_restarts_are_counted_by_cause(tmp_path: Path) -> None:
    class Failing(tune.Trainable):  # type: ignore[misc]
        """Loses its storage twice and its process twice, then storage until it fails for good."""

        def step(self) -> dict[str, Any]:
            attempt = len(list(ran.iterdir()))
            (ran / str(attempt)).touch()
            if attempt in (2, 3):
                os._exit(1)
            raise OSError(28, "No space left on device")

    ran = tmp_path / "ran"
    ran.mkdir()
    tuner = tune.Tuner(
        Failing,
        run_config=tune.RunConfig(
            storage_path=str(tmp_path / "tune"),
            failure_config=tune.FailureConfig(max_failures=2),
            verbose=0,
        ),
    )
    with our_controller():
        tuner.fit()
    assert len(list(ran.iterdir())) == 5  # the third failure of one cause is the last
