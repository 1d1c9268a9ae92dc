"""Ordered studies: decisions depend on trial numbers, not on which trial is first."""

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raytune_yesno.config import build_config
from raytune_yesno.errors import InputError
from raytune_yesno.metrics import COST
from raytune_yesno.schedulers.asynchronous import FIFO
from raytune_yesno.schedulers.build import DETERMINISTIC, SCHEDULERS
from raytune_yesno.schedulers.deterministic import DeterministicScheduler
from raytune_yesno.schedulers.stopping_rules import (
    MedianStopping,
    SuccessiveHalving,
    TrialState,
    is_worse,
    list_rungs,
)
from raytune_yesno.schedulers.synchronous import STOPPED
from raytune_yesno.space import Float, Space
from raytune_yesno.study.store import StudyStore
from raytune_yesno.tuning.plan import Plan
from raytune_yesno.tuning.plan_checks import check_plan
from raytune_yesno.tuning.searcher import StudySearcher
from raytune_yesno.tuning.stop_conditions import OrderedStopMonitor, StopConditions

EPOCHS = 9
SPACE: Space = {"learning_rate": Float(1e-4, 1e-2, log=True)}
Curves = list[list[float]]


def curves(losses: st.SearchStrategy[float]) -> st.SearchStrategy[Curves]:
    curve = st.lists(losses, min_size=EPOCHS, max_size=EPOCHS)
    return st.lists(curve, min_size=1, max_size=12)


def run_in_random_order(
    scheduler: DeterministicScheduler, curves: Curves, slots: int, seed: int
) -> list[int]:
    """Advance random trials, ``slots`` at a time; return the last epoch of each trial."""
    generator = random.Random(seed)
    running: list[int] = []
    while True:
        goals = scheduler.milestones()
        for number in [n for n in goals if goals[n] == STOPPED]:
            scheduler.states[number].ended = True
        goals = scheduler.milestones()
        able = [n for n in sorted(goals) if scheduler.states[n].epoch < goals[n]]
        running = [n for n in running if n in able]
        waiting = [n for n in able if n not in running]
        while len(running) < slots and (waiting or len(scheduler.states) < len(curves)):
            if not waiting:
                waiting = [len(scheduler.states)]
                scheduler.states[waiting[0]] = TrialState()
            running.append(waiting.pop(0))
        if not running:
            break
        number = generator.choice(running)
        state = scheduler.states[number]
        epoch = state.epoch + 1
        state.note(epoch, curves[number][epoch - 1])
        state.ended = epoch == EPOCHS
    assert all(state.ended for state in scheduler.states.values())
    return [scheduler.states[number].epoch for number in range(len(curves))]


def build_asha(epochs: int, grace_period: int, factor: float) -> DeterministicScheduler:
    return DeterministicScheduler(epochs, SuccessiveHalving(epochs, grace_period, factor))


def build_median(epochs: int, grace_period: int, min_trials: int) -> DeterministicScheduler:
    return DeterministicScheduler(epochs, MedianStopping(epochs, grace_period, min_trials))


class TestVerdicts:
    @pytest.mark.parametrize("build", [build_asha, build_median])
    @given(
        curves=curves(st.floats(0, 9) | st.just(float("inf"))),
        slots=st.integers(1, 5),
        seed=st.integers(0, 99),
    )
    def test_equal_those_of_a_sequential_run(
        self, build: Any, curves: Curves, slots: int, seed: int
    ) -> None:
        sequential = run_in_random_order(build(EPOCHS, 2, 3), curves, 1, 0)
        assert run_in_random_order(build(EPOCHS, 2, 3), curves, slots, seed) == sequential

    def test_of_median_compare_the_best_loss_with_the_median_of_means(self) -> None:
        curves = [[1.0] * EPOCHS, [2.0] * EPOCHS, [6.0] * EPOCHS]
        for own, length in ((2.0, EPOCHS), (2.1, 3)):
            scheduler = build_median(EPOCHS, 3, 3)
            assert run_in_random_order(scheduler, [*curves, [own] * EPOCHS], 1, 0)[3] == length

    def test_wait_for_slower_trials_but_not_for_ended_ones(self) -> None:
        scheduler = build_asha(EPOCHS, 3, 3)
        scheduler.states = {
            0: TrialState({1: (0.5,), 2: (0.5,)}),
            1: TrialState({1: (0.1,), 2: (0.1,), 3: (0.1,)}),
        }
        assert scheduler.milestones() == {0: 3, 1: 3}
        scheduler.states[0].note(3, 0.5)
        assert scheduler.milestones() == {0: EPOCHS, 1: EPOCHS}
        scheduler.states[2] = TrialState({1: (0.9,), 2: (0.9,), 3: (0.9,)})
        scheduler.states[0].ended = True
        assert scheduler.milestones() == {1: EPOCHS, 2: STOPPED}

    @given(st.integers(1, 100), st.integers(1, 100), st.floats(1.1, 100))
    def test_happen_at_rising_epochs_before_the_last(
        self, epochs: int, grace_period: int, factor: float
    ) -> None:
        rungs = list_rungs(epochs, grace_period, factor)
        assert rungs == sorted(rungs)
        assert all(grace_period <= rung < epochs for rung in rungs)
        assert (grace_period < epochs) == bool(rungs)

    def test_continue_a_trial_without_others_to_compare(self) -> None:
        assert not is_worse(9.0, [], fraction=0.5)
        assert not is_worse(9.0, [float("inf")], fraction=0.5)
        assert is_worse(float("inf"), [9.0], fraction=0.5)


class TestPlans:
    @pytest.mark.parametrize(
        "scheduler", [name for name in SCHEDULERS if name not in DETERMINISTIC]
    )
    def test_refuse_other_schedulers(self, scheduler: str) -> None:
        plan = Plan(build_config({}), SPACE, "random", scheduler=scheduler, ordered=True)
        with pytest.raises(InputError, match="fifo, asha or median"):
            check_plan(plan)

    def test_refuse_a_time_budget(self) -> None:
        stop = StopConditions(time_budget=9.0)
        with pytest.raises(InputError, match=r"time_budget: .*ordered"):
            check_plan(Plan(build_config({}), SPACE, stop=stop, ordered=True))

    def test_refuse_an_empty_window(self) -> None:
        with pytest.raises(InputError, match="W: 0 is out of range"):
            check_plan(Plan(build_config({}), SPACE, ordered=True, window=0))


def end(searcher: StudySearcher, number: int, loss: float) -> None:
    """Report the end of a trial of one epoch, as Tune does."""
    result = {"epoch": 1, "valid_loss": loss, COST: loss}
    searcher.monitor.epoch(number, result)
    searcher.monitor.ended(number, "done")
    searcher.on_trial_complete(str(number), result)


class TestWindow:
    """Suggestion i knows the results of exactly the trials up to i - W."""

    def build(self, tmp_path: Any, **options: Any) -> StudySearcher:
        plan = Plan(build_config({}), SPACE, ordered=True, window=3, **options)
        return StudySearcher(
            plan,
            StudyStore(tmp_path),
            [],
            OrderedStopMonitor(plan.stop, plan.config.objective),
            FIFO(),
        )

    def test_delays_results(self, tmp_path: Any) -> None:
        searcher = self.build(tmp_path)
        for number in range(3):
            assert isinstance(searcher.suggest(str(number)), dict)
        assert searcher.suggest("3") is None
        for number in (1, 2):  # before trial 0
            end(searcher, number, 1.0)
        assert searcher.suggest("3") is None
        end(searcher, 0, 2.0)
        seen = searcher.select_seen(3)
        assert [(trial.status, trial.loss) for trial in seen] == [
            ("done", 2.0),
            ("running", None),
            ("running", None),
        ]
        for number in (3, 4, 5):
            assert isinstance(searcher.suggest(str(number)), dict)
        assert searcher.suggest("6") is None

    def test_delays_the_end_of_the_search(self, tmp_path: Any) -> None:
        """Trial 2 reaches the target; trials 3 and 4 were suggested without knowing it."""
        searcher = self.build(tmp_path, stop=StopConditions(target="loss=0.5"))
        for number, loss in enumerate([0.9, 0.8, 0.4, 0.3, 0.2]):
            assert isinstance(searcher.suggest(str(number)), dict), number
            end(searcher, number, loss)
        assert searcher.monitor.reason is None
        assert searcher.suggest("5") == searcher.FINISHED
        assert "valid_loss 0.4 (target 0.5)" in searcher.monitor.found
