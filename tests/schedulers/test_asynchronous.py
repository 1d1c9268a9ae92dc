"""Asynchronous schedulers without a cluster: Ray's decisions, also from a study's records."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from helpers.builders import build_trial
from hypothesis import given
from hypothesis import strategies as st
from ray.tune.schedulers import ASHAScheduler, MedianStoppingRule

from raytune_yesno.schedulers.build import build_scheduler
from raytune_yesno.study import Trial


def build_record(
    number: int, losses: list[float], status: str = "stopped", *, start: float = 0.0
) -> Trial:
    epochs = [
        {"epoch": epoch, "valid_loss": loss, "seconds": 1.0, "time": start + epoch}
        for epoch, loss in enumerate(losses, start=1)
    ]
    return Trial(number, {"learning_rate": 1e-3}, status, epochs)


class TestWarmStart:
    """A scheduler that replays a study's records decides like one that saw every report."""

    CONTROLLER = SimpleNamespace(get_live_trials=list)

    def judge(self, scheduler: Any, trial: Any, epoch: int, loss: float) -> str:
        result = {"epoch": epoch, "valid_loss": loss}
        return str(scheduler.on_trial_result(self.CONTROLLER, trial, result))

    def test_a_verdict_outlives_the_process_that_it_was_for(self) -> None:
        records = [build_record(number, [0.1] * 8, "done") for number in range(8)]
        scheduler = self.build("asha", records)
        ray_trial = SimpleNamespace(config={"number": 8})
        stops = [
            epoch for epoch in range(1, 9) if self.judge(scheduler, ray_trial, epoch, 9.0) == "STOP"
        ]
        assert stops
        for epoch in range(1, stops[0] + 1):  # trained again in another process
            verdict = self.judge(scheduler, ray_trial, epoch, 9.0)
            assert verdict == ("STOP" if epoch == stops[0] else "CONTINUE")

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

    def test_judges_a_resumed_trial_once_at_a_rung(self) -> None:
        records = [build_record(0, [0.5, 0.4], start=5), build_record(1, [9.0, 8.0], "running")]
        scheduler = self.build("asha", records)
        assert not scheduler.stopped  # it was the first at the rung
        trial = build_trial(1, "another name")
        assert self.judge(scheduler, trial, 2, 8.0) == "CONTINUE"
        assert self.judge(scheduler, build_trial(2), 2, 8.5) == "STOP"

    @pytest.mark.parametrize("name", ["asha", "median"])
    @given(
        curves=st.lists(st.lists(st.integers(0, 9), min_size=7, max_size=7), min_size=1),
        order=st.randoms(use_true_random=False),
        cut=st.integers(1, 60),
    )
    def test_judges_trials_that_were_cut_off_as_before(
        self, name: str, curves: list[list[int]], order: Any, cut: int
    ) -> None:
        """However many epochs were recorded, a decision that was lost is made again."""
        live = self.build(name, [])
        records = [build_record(number, [], "running") for number in range(len(curves))]
        stopped = set()
        for time in range(cut):
            running = [t for t in records if t.number not in stopped and len(t.epochs) < 7]
            if not running:
                break
            trial = order.choice(running)
            epoch = len(trial.epochs) + 1
            loss = float(curves[trial.number][epoch - 1])
            if self.judge(live, build_trial(trial.number), epoch, loss) == "STOP":
                stopped.add(trial.number)  # no event says so
            trial.epochs.append({"epoch": epoch, "valid_loss": loss, "time": float(time)})
        assert self.build(name, records).stopped == stopped

    def test_judges_no_trial_of_a_final_round(self) -> None:
        best = [build_record(number, [0.5, 0.4]) for number in range(4)]
        cut_off = build_record(4, [9.0, 8.0], "running", start=5)
        assert self.build("asha", [*best, cut_off]).stopped == {4}
        assert not self.build("asha", [*best, replace(cut_off, final=True)]).stopped

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
            for number in range(4):
                for epoch in (1, 2, *((2, 2) if scheduler is again else ()), 3):
                    loss = [9.0, 4.0, 5.0][epoch - 1] - number
                    self.judge(scheduler, build_trial(number), epoch, loss)
        means = [[state.mean(2, 3) for state in each.states.values()] for each in (once, again)]
        assert means[0] == means[1]

    @pytest.mark.parametrize("name", ["asha", "median"])
    def test_counts_a_trial_that_ended_at_a_check(self, name: str) -> None:
        scheduler = self.build(name, [])
        for number in range(4):
            ended = {"epoch": 2, "valid_loss": 0.1}
            scheduler.on_trial_complete(self.CONTROLLER, build_trial(number), ended)
        scheduler.on_trial_complete(self.CONTROLLER, build_trial(8), {})  # it had no epoch
        assert self.judge(scheduler, build_trial(9), 2, 9.0) == "STOP"


RAYS = {
    "asha": lambda: ASHAScheduler(time_attr="epoch", max_t=9, grace_period=2, reduction_factor=3),
    "median": lambda: MedianStoppingRule(
        time_attr="epoch", grace_period=2, min_samples_required=3, min_time_slice=99
    ),
}


@pytest.mark.parametrize("name", RAYS)
@given(
    curves=st.lists(st.lists(st.integers(0, 9), min_size=8, max_size=8), min_size=1, max_size=12),
    order=st.randoms(use_true_random=False),
)
def test_decides_as_rays_own_scheduler(name: str, curves: list[list[int]], order: Any) -> None:
    lengths = []
    state = order.getstate()
    for scheduler in (build_scheduler(name, 9, grace_period=2), RAYS[name]()):
        order.setstate(state)
        scheduler.set_search_properties("valid_loss", "min")
        controller: Any = SimpleNamespace(get_live_trials=list)
        trials = [build_trial(number) for number in range(len(curves))]
        for trial in trials:
            scheduler.on_trial_add(controller, trial)
        reached, running = dict.fromkeys(range(len(curves)), 0), list(range(len(curves)))
        while running:
            number = order.choice(running)
            reached[number] += 1
            epoch = reached[number]
            result = {"epoch": epoch, "valid_loss": float(curves[number][epoch - 1])}
            decision = scheduler.on_trial_result(controller, trials[number], result)
            if decision == "STOP" or epoch == 8:
                running.remove(number)
        lengths.append(reached)
    assert lengths[0] == lengths[1]


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
