"""Asynchronous schedulers that are warm-started from a study's records, without a cluster."""

from types import SimpleNamespace
from typing import Any

import pytest
from helpers.builders import build_trial
from hypothesis import given
from hypothesis import strategies as st

from raytune_yesno.schedulers.build import build_scheduler
from raytune_yesno.study import Trial


def build_record(number: int, losses: list[float], status: str = "stopped") -> Trial:
    epochs = [
        {"epoch": epoch, "valid_loss": loss, "seconds": 1.0}
        for epoch, loss in enumerate(losses, start=1)
    ]
    return Trial(number, {"learning_rate": 1e-3}, status, epochs)


class TestWarmStart:
    """A scheduler that replays a study's records decides like one that saw every report."""

    CONTROLLER = SimpleNamespace(get_live_trials=list)

    def judge(self, scheduler: Any, trial: Any, epoch: int, loss: float) -> str:
        result = {"epoch": epoch, "valid_loss": loss}
        return str(scheduler.on_trial_result(self.CONTROLLER, trial, result))

    def build(self, name: str, records: list[Trial]) -> Any:
        scheduler: Any = build_scheduler(name, 8)
        scheduler.set_search_properties("valid_loss", "min")
        scheduler.prepare(records)
        return scheduler

    @pytest.mark.parametrize("name", ["asha", "median"])
    @given(losses=st.lists(st.floats(0, 9), min_size=3, max_size=12), loss=st.floats(0, 9))
    def test_replays_finished_trials(self, name: str, losses: list[float], loss: float) -> None:
        live, warm_started = (
            self.build(name, []),
            self.build(
                name, [build_record(number, [seen] * 2) for number, seen in enumerate(losses)]
            ),
        )
        for number, seen in enumerate(losses):
            trial = build_trial(number)
            live.on_trial_add(self.CONTROLLER, trial)
            for epoch in (1, 2):
                self.judge(live, trial, epoch, seen)
        verdicts = []
        for scheduler in (live, warm_started):
            trial = build_trial(99)
            scheduler.on_trial_add(self.CONTROLLER, trial)
            verdicts.append([self.judge(scheduler, trial, epoch, loss) for epoch in (1, 2)])
        assert verdicts[0] == verdicts[1]

    @pytest.mark.parametrize("name", ["asha", "median"])
    def test_stops_a_bad_trial_immediately(self, name: str) -> None:
        records = [build_record(number, [0.5, 0.4, 0.3, 0.2]) for number in range(4)]
        for known, verdict in (([], "CONTINUE"), (records, "STOP")):
            scheduler = self.build(name, known)
            trial = build_trial(9)
            scheduler.on_trial_add(self.CONTROLLER, trial)
            assert self.judge(scheduler, trial, 2, 9.0) == verdict

    def test_enters_a_resumed_trial_once(self) -> None:
        records = [build_record(0, [0.5, 0.4]), build_record(1, [9.0, 8.0], "running")]
        scheduler = self.build("asha", records)
        trial = build_trial(1, "another name")
        scheduler.on_trial_add(self.CONTROLLER, trial)
        (bracket,) = scheduler._brackets
        rungs = dict(bracket._rungs)
        assert rungs[2] == {"earlier 0": -0.4, "another name": -8.0}
        assert self.judge(scheduler, trial, 3, 7.0) == "CONTINUE"  # no second verdict on rung 2
        assert len(rungs[2]) == 2

    def test_restores_hyperband_to_the_end_of_the_records(self) -> None:
        scheduler: Any = build_scheduler("hyperband", 9)
        records = [build_record(number, [9.0 - number] * 1, "running") for number in range(9)]
        for record in records:
            record.checkpoint = ("somewhere", 1)
        scheduler.prepare(records[:8], num_trials=9, slots=2, store=None, on_wait=print)
        assert scheduler.milestones() == dict.fromkeys(range(9), 1)
        scheduler.prepare(records, num_trials=9, slots=2, store=None, on_wait=print)
        assert [n for n, goal in scheduler.milestones().items() if goal == 3] == [6, 7, 8]

    def test_restarts_a_trial_without_a_checkpoint(self) -> None:
        scheduler: Any = build_scheduler("hyperband", 9)
        record = build_record(0, [0.5], "running")
        scheduler.prepare([record], num_trials=1, slots=1, store=None, on_wait=print)
        assert scheduler.states[0].epoch == 0

    def test_counts_retried_epochs_once(self) -> None:
        once, again = self.build("median", []), self.build("median", [])
        for scheduler in (once, again):
            trials = [build_trial(number) for number in range(4)]
            for number, trial in enumerate(trials):
                scheduler.on_trial_add(self.CONTROLLER, trial)
                for epoch in (1, 2, *((2, 2) if scheduler is again else ()), 3):
                    self.judge(scheduler, trial, epoch, [9.0, 4.0, 5.0][epoch - 1] - number)
        means = [
            [float(scheduler._running_mean(trial, 3)) for trial in scheduler._results]
            for scheduler in (once, again)
        ]
        assert means[0] == means[1]


@pytest.mark.parametrize("name", ["fifo", "asha", "median"])
def test_runs_pending_trials_first_then_the_lowest_number(name: str) -> None:
    scheduler: Any = build_scheduler(name, 8)
    trials = [build_trial(number) for number in range(5)]
    statuses = ["TERMINATED", "PAUSED", "RUNNING", "PENDING", "PENDING"]
    for trial, status in zip(trials, statuses, strict=True):
        trial.status = status
    order = []
    live = {trial for trial in trials if trial.status != "TERMINATED"}
    controller = SimpleNamespace(get_live_trials=lambda: live)
    while chosen := scheduler.choose_trial_to_run(controller):
        order.append(chosen.config["number"])
        chosen.status = "RUNNING"
    assert order == [3, 4, 1]
