"""Which checkpoints of finished trials are kept while a study runs, without a cluster."""

from pathlib import Path
from typing import Any

import pytest

from raytune_yesno.metrics import Limit, Metric, Objective
from raytune_yesno.report.early_stopping import was_stopped_early
from raytune_yesno.study import Trial, load
from raytune_yesno.study.store import StudyStore
from raytune_yesno.tuning.kept_checkpoints import KeptTrials, list_finished, select_stored
from raytune_yesno.tuning.progress import Progress
from raytune_yesno.tuning.recorder import Recorder
from raytune_yesno.tuning.stop_conditions import StopConditions, StopMonitor

OBJECTIVE = Objective(Metric("loss"), limits=(Limit(Metric("size"), "<=", 100),))


class Session:
    """A session of a study: its recorder, and the folders of its trials."""

    def __init__(
        self,
        out: Path,
        keep: int,
        earlier: list[Trial] | None = None,
        objective: Objective = OBJECTIVE,
    ) -> None:
        self.trials = out / "trials"
        self.store = StudyStore(out)
        kept = KeptTrials(keep, objective, earlier or [])
        self.store.listeners.append(kept.listen)
        monitor = StopMonitor(StopConditions(), objective)
        self.recorder = Recorder(self.store, Progress(objective, 9, 1, 3), monitor, kept=kept)

    def ask(self, number: int, **fields: Any) -> None:
        self.store.append("asked", trial=number, point={}, **fields)

    def train(self, number: int, *losses: float, size: float = 50, first: int = 1) -> None:
        self.recorder.started(number)
        for epoch, loss in enumerate(losses, start=first):
            record = {"epoch": epoch, "loss": loss, "size": size}
            self.recorder.epoch(number, {"record": record})
        folder = self.trials / f"trial_{number}" / f"checkpoint_{epoch}"
        folder.mkdir(parents=True)
        self.recorder.saved(number, str(folder), epoch)
        self.recorder.ended(number, {"complete": True})

    @property
    def left(self) -> list[int]:
        return sorted(int(path.name.removeprefix("trial_")) for path in self.trials.iterdir())


def run(session: Session, number: int, *losses: float, size: float = 50, **fields: Any) -> None:
    session.ask(number, **fields)
    session.train(number, *losses, size=size)


@pytest.mark.parametrize(("keep", "left"), [(0, []), (1, [2]), (2, [1, 2])])
def test_those_of_the_best_trials_are_kept(tmp_path: Path, keep: int, left: list[int]) -> None:
    session = Session(tmp_path, keep)
    for number, losses in enumerate([(0.5, 0.9), (0.9, 0.4), (0.3, 0.7), (0.6, 0.6)]):
        run(session, number, *losses)
    assert session.left == left


def test_a_trial_that_keeps_the_limits_is_better_than_one_that_does_not(tmp_path: Path) -> None:
    session = Session(tmp_path, 1)
    run(session, 0, 0.1, size=500)
    run(session, 1, 0.3)
    assert session.left == [1]
    run(session, 2, 0.2, size=101)
    assert session.left == [1]


TWO = Objective(Metric("loss"), others=(Metric("size"),))


def test_with_several_objectives_they_are_spread_over_the_front(tmp_path: Path) -> None:
    session = Session(tmp_path, 2, objective=TWO)
    for number, (loss, size) in enumerate([(0.1, 90), (0.2, 80), (0.9, 10), (0.95, 99)]):
        run(session, number, loss, size=size)
    assert session.left == [0, 2]
    finished = [session.recorder.kept.trials[number] for number in (0, 2)]
    assert list_finished(finished) == finished


def test_a_trial_whose_checkpoint_was_deleted_takes_the_place_of_no_other(tmp_path: Path) -> None:
    folder = tmp_path / "trials"
    (folder / "trial_1" / "checkpoint_3").mkdir(parents=True)
    trials = [
        Trial(0, {}, "done", checkpoint=(str(folder / "trial_0" / "checkpoint_3"), 3)),
        Trial(1, {}, "done", checkpoint=(str(folder / "trial_1" / "checkpoint_3"), 3)),
        Trial(2, {}, "done"),
        Trial(3, {}, "running", checkpoint=(str(folder / "trial_3" / "checkpoint_1"), 1)),
    ]
    assert [trial.number for trial in select_stored(trials, str(folder))] == [1, 3]


def test_a_repeat_takes_the_place_of_no_trial(tmp_path: Path) -> None:
    session = Session(tmp_path, 1)
    run(session, 0, 0.3)
    run(session, 1, 0.1, repeat_of=0, seed=5)
    assert session.left == [0]


def test_after_a_resumption_earlier_trials_and_epochs_count(tmp_path: Path) -> None:
    def recall(number: int, status: str, *losses: float, **fields: Any) -> Trial:
        epochs = [
            {"event": "epoch", "epoch": epoch, "loss": loss, "size": 50}
            for epoch, loss in enumerate(losses, start=1)
        ]
        saved = (f"elsewhere/trial_{number}/checkpoint", len(losses))
        return Trial(number, {}, status, epochs, 1, saved, objective=OBJECTIVE, **fields)

    earlier = [
        recall(0, "done", 0.2, 0.3, 0.3),
        recall(1, "done", 0.1, 0.1, 0.1, outside="not in the space"),
        recall(2, "running", 0.15, 0.9),
        recall(3, "stopped", 0.1),
    ]
    session = Session(tmp_path, 1, earlier)
    run(session, 4, 0.25, 0.25, 0.25)  # trial 0 is better
    assert session.left == []
    session.train(2, 0.9, first=3)  # its best epoch is the first
    assert session.left == [2]
    assert [len(trial.epochs) for trial in earlier] == [3, 3, 2, 1]


def test_a_trial_that_the_end_of_the_search_cuts_off_was_not_stopped_early(tmp_path: Path) -> None:
    session = Session(tmp_path, keep=0)
    session.store.append("study", metrics=[{"name": "loss"}], config={}, space={}, data="")
    for number in range(3):
        session.ask(number)
        session.train(number, 0.5)
    session.recorder.ended(0, {})  # by the scheduler
    session.recorder.monitor.found = "its time budget of 9 s is spent"
    session.recorder.ended(1, {})
    session.recorder.cut_off([2])
    assert list(map(was_stopped_early, load(tmp_path).trial_list)) == [True, False, False]
