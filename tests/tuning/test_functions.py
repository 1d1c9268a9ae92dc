"""Studies of functions and generators, from Python: early stopping, resuming, errors."""

import os
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from examples.digits import Digits

from raytune_yesno import tune
from raytune_yesno.errors import InputError, WorkError
from raytune_yesno.space import Choice, Float
from raytune_yesno.study import Study
from raytune_yesno.study.store import read_events

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("ray_cluster")]

SPACE = {"rate": Float(0.01, 1.0, log=True)}


def approach(config: dict[str, Any], checkpoint: Any = None) -> Iterator[Any]:
    """Approach 1 at a rate, with a state of plain values."""
    epoch, value = checkpoint or (0, 0.0)
    while True:
        epoch, value = epoch + 1, value + config["rate"] * (1 - value)
        yield {"accuracy": value, "steps": epoch}, (epoch, value)


def curves(study: Study) -> list[Any]:
    return [
        (trial.point, trial.status, [(e["epoch"], e["accuracy"], e["steps"]) for e in trial.epochs])
        for trial in study.trial_list
    ]


def test_an_ordered_study_is_repeated_resumed_and_extended(tmp_path: Path) -> None:
    asked: dict[str, Any] = {"metric": "accuracy", "epochs": 4, "ordered": True, "quiet": True}
    alone = {**asked, "max_concurrent": 1}
    asked["max_concurrent"] = 2
    first = tune(approach, SPACE, trials=4, out=tmp_path / "a", **asked)
    again = tune(approach, SPACE, trials=4, out=tmp_path / "b", **alone)
    assert curves(first) == curves(again)
    assert {trial.status for trial in first.trial_list} == {"done", "stopped"}
    assert first.best is not None
    assert "4 trials" in repr(first)

    assert curves(tune(approach, SPACE, trials=4, out=tmp_path / "a", **asked)) == curves(first)
    longer = tune(approach, SPACE, trials=6, out=tmp_path / "a", **asked)
    assert curves(longer)[:4] == curves(first)
    assert len(longer.trial_list) == 6
    with pytest.raises(InputError, match="space"):
        tune(approach, {"rate": Float(0.1, 0.2)}, trials=6, out=tmp_path / "a", **asked)


def test_as_many_trials_run_at_once_as_there_are_slots(tmp_path: Path) -> None:
    def meet(config: dict[str, Any]) -> dict[str, int]:
        folder = tmp_path / "met"
        folder.mkdir(exist_ok=True)
        (folder / str(os.getpid())).touch()
        deadline = time.monotonic() + 120
        while len(list(folder.iterdir())) < 2 and time.monotonic() < deadline:
            time.sleep(0.05)
        return {"met": len(list(folder.iterdir()))}

    asked: dict[str, Any] = {"metric": "met", "mode": "max", "max_concurrent": 2, "quiet": True}
    study = tune(meet, SPACE, trials=2, out=tmp_path / "study", **asked)
    assert [trial.epochs[0]["met"] for trial in study.trial_list] == [2, 2]


def test_a_search_that_ran_out_of_patience_is_extended(tmp_path: Path) -> None:
    def constant(config: dict[str, Any]) -> dict[str, float]:
        return {"accuracy": 0.5}

    asked: dict[str, Any] = {"metric": "accuracy", "search": "random", "scheduler": "fifo"}
    asked |= {"patience": 2, "max_concurrent": 1, "out": tmp_path, "quiet": True}
    counts = [len(tune(constant, SPACE, trials=n, **asked).trial_list) for n in (12, 20, 20)]
    assert counts == [3, 5, 5]


def test_a_lost_process_resumes_from_the_state(tmp_path: Path) -> None:
    marker, log = str(tmp_path / "killed"), str(tmp_path / "log")

    def fragile(config: dict[str, Any], checkpoint: Any = None) -> Iterator[Any]:
        for metrics, state in approach(config, checkpoint):
            with open(log, "a") as file:
                file.write(str(state[0]))
            if state[0] == 5 and not os.path.exists(marker):
                Path(marker).write_text("")
                os.kill(os.getpid(), 9)
            yield metrics, state

    study = tune(
        fragile,
        {"rate": Choice(0.25)},
        metric="accuracy",
        epochs=8,
        trials=1,
        search="random",
        out=tmp_path / "study",
        checkpoint_every=0,
        quiet=True,
    )
    (trial,) = study.trial_list
    whole = approach({"rate": 0.25})
    assert trial.attempts == 2
    assert Path(log).read_text() == "123455678"
    assert [epoch["accuracy"] for epoch in trial.epochs] == [
        next(whole)[0]["accuracy"] for _ in range(8)
    ]


def test_the_generators_of_all_trials_are_closed(tmp_path: Path) -> None:
    def function(config: dict[str, Any]) -> Iterator[Any]:
        try:
            while True:
                yield {"loss": config["rate"]}
        finally:
            (tmp_path / f"closed at {config['rate']}").touch()

    space = {"rate": Choice(0.1, 0.2)}
    tune(function, space, metric="loss", search="grid", epochs=2, out=tmp_path / "a", quiet=True)
    assert {path.name for path in tmp_path.glob("closed*")} == {"closed at 0.1", "closed at 0.2"}


class TooFastError(Exception):
    """It passes on other arguments than it takes, so it cannot be copied or pickled."""

    def __init__(self, rate: float, limit: float) -> None:
        super().__init__(f"{rate} is too fast")


def test_errors_are_not_retried_and_shown_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def picky(config: dict[str, Any]) -> dict[str, float]:
        if config["rate"] > 0.02:
            raise TooFastError(config["rate"], 0.02)
        return {"accuracy": config["rate"]}

    space = {"rate": Choice(0.01, 0.05, 0.5)}
    study = tune(
        picky,
        space,
        metric="accuracy",
        search="grid",
        max_concurrent=1,
        out=tmp_path / "study",
        quiet=True,
    )
    failed = [trial for trial in study.trial_list if trial.status == "failed"]
    assert [trial.attempts for trial in failed] == [1, 1]
    assert all("too fast" in str(trial.error) for trial in failed)
    shown = capsys.readouterr().err
    assert shown.count('raise TooFastError(config["rate"], 0.02)') == 1
    assert "rate=0." in shown  # of the trial that failed first
    assert "site-packages" not in shown
    assert "raytune_yesno/" not in shown


def test_a_missing_metric_ends_the_study(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    call = partial(tune, approach, SPACE, mode="max", out=tmp_path / "study", quiet=True)
    with pytest.raises(WorkError, match=r"exactness.*accuracy"):
        call(metric="exactness", trials=32, max_concurrent=2)
    events, _ = read_events(tmp_path / "study")
    assert sum(event["event"] == "epoch" for event in events) == 0
    # Nothing was trained, so the corrected call begins the study again.
    study = call(metric="accuracy", trials=2, max_concurrent=1)
    assert len(study.trial_list) == 2
    assert study.best
    assert (tmp_path / "study/study.jsonl.untrained").is_file()
    assert "study.jsonl.untrained" in capsys.readouterr().err


def sized(config: dict[str, Any]) -> dict[str, float]:
    return {"loss": abs(config["rate"] - 0.3)}


sized.costs = lambda config: {"size": 100 * config["rate"]}  # type: ignore[attr-defined]


def test_costs_that_a_function_only_declares_are_reported(tmp_path: Path) -> None:
    limits = ["size>=10", "size<=60"]
    call = partial(tune, sized, SPACE, trials=4, quiet=True, limits=limits)
    study = call(metric="loss", out=tmp_path / "one")
    sizes = [trial.metrics["size"] for trial in study.trial_list]
    assert len(sizes) == 4
    assert all(10 <= size <= 60 for size in sizes)
    study = call(objectives=["loss:min", "size:min"], out=tmp_path / "two")
    assert study.front


@pytest.mark.parametrize("scheduler", ["hyperband", "asha"])
def test_a_search_that_runs_out_of_points_ends(scheduler: str, tmp_path: Path) -> None:
    space = {"rate": Choice(*(0.05 * number for number in range(1, 13)))}
    call = partial(tune, approach, space, metric="accuracy", mode="max", quiet=True)
    approach.costs = sized.costs  # type: ignore[attr-defined]
    try:
        study = call(
            **{"search": "grid", "scheduler": scheduler, "epochs": 9, "out": tmp_path / "study"},
            limits=["size<=36"],
        )
    finally:
        del approach.costs  # type: ignore[attr-defined]
    assert len(study.trial_list) == 7
    assert all(trial.status in ("done", "stopped") for trial in study.trial_list)


def test_a_trial_without_enough_memory_is_restarted_alone(tmp_path: Path) -> None:
    running = tmp_path / "running"
    asked = tmp_path / "asked"  # whether memory has been asked for
    running.mkdir()

    def greedy(config: dict[str, Any], checkpoint: Any = None) -> Iterator[Any]:
        mine = running / f"{config['size']}"
        mine.touch()
        for epoch in range(1 + (checkpoint or 0), 11):
            others = len(list(running.iterdir())) - 1
            if config["size"] == 3 and not asked.exists():
                asked.touch()
                mine.unlink()
                raise MemoryError("cannot allocate 9 GB")
            time.sleep(0.02)
            if epoch == 10:
                mine.unlink()
            yield {"loss": 1.0 / epoch, "others": others}, epoch

    study = tune(
        greedy,
        {"size": Choice(2, 3, 1)},
        metric="loss",
        epochs=10,
        trials=3,
        search="grid",
        scheduler="fifo",
        max_concurrent=2,
        out=tmp_path / "study",
        quiet=True,
    )
    assert [trial.status for trial in study.trial_list] == ["done"] * 3
    (alone,) = (trial for trial in study.trial_list if trial.point["size"] == 3)
    assert alone.attempts == 2
    assert all(epoch["others"] == 0 for epoch in alone.epochs)


def test_a_task_of_a_module_that_workers_do_not_have(tmp_path: Path) -> None:
    study = tune(
        Digits,
        trials=2,
        epochs=1,
        search="random",
        max_concurrent=1,
        out=tmp_path / "study",
        quiet=True,
    )
    assert {trial.status for trial in study.trial_list} == {"done"}
    assert study.refit


def test_data_that_cannot_be_sent_are_refused_before_the_study(tmp_path: Path) -> None:
    class Locked(Digits):
        @staticmethod
        def load_data(source: str, *, config: Any, **_: Any) -> Any:
            data = Digits.load_data(source, config=config)
            object.__setattr__(data, "lock", threading.Lock())
            return data

    with pytest.raises(InputError, match=r"Locked.*lock.*load_data"):
        tune(Locked, trials=2, epochs=1, out=tmp_path / "study", quiet=True)
    assert not list((tmp_path / "study").rglob("study.jsonl"))


def test_a_metric_that_one_trial_misses_fails_this_trial(tmp_path: Path) -> None:
    def sometimes(config: dict[str, Any]) -> dict[str, float]:
        return {"loss": 1.0} if config["rate"] < 0.3 else {"other": 1.0}

    study = tune(
        sometimes,
        {"rate": Choice(0.1, 0.2, 0.5)},
        metric="loss",
        search="grid",
        max_concurrent=1,
        out=tmp_path / "study",
        quiet=True,
    )
    statuses = {trial.point["rate"]: trial.status for trial in study.trial_list}
    assert statuses == {0.1: "done", 0.2: "done", 0.5: "failed"}
