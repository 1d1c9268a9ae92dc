"""Ordered studies: what is decided depends on the trials' numbers, not on who is first."""

import random
from types import SimpleNamespace
from typing import Any

import pytest
from helpers.builders import build_trial
from hypothesis import given
from hypothesis import strategies as st

from raytune_yesno.config import build_config
from raytune_yesno.errors import InputError
from raytune_yesno.metrics import COST
from raytune_yesno.schedulers.asha_median import FIFO
from raytune_yesno.schedulers.build import ORDERED, SCHEDULERS, build_scheduler
from raytune_yesno.schedulers.deterministic import (
    InOrder,
    OrderedASHA,
    OrderedMedian,
    is_worse,
    place_rungs,
)
from raytune_yesno.schedulers.synchronous import OUT, Entrant
from raytune_yesno.space import Float, Space
from raytune_yesno.study.store import StudyStore
from raytune_yesno.tuning.plan import Plan
from raytune_yesno.tuning.searcher import StudySearcher
from raytune_yesno.tuning.stop_conditions import OrderedWatch, StopConditions

EPOCHS = 9
SPACE: Space = {"learning_rate": Float(1e-4, 1e-2, log=True)}
Curves = list[list[float]]


def curves(losses: st.SearchStrategy[float]) -> st.SearchStrategy[Curves]:
    curve = st.lists(losses, min_size=EPOCHS, max_size=EPOCHS)
    return st.lists(curve, min_size=1, max_size=12)


def run_in_some_order(scheduler: InOrder, curves: Curves, slots: int, seed: int) -> list[int]:
    """Advance trials by chance, as many at a time as there are slots; return their last epochs."""
    chance = random.Random(seed)
    running: list[int] = []
    while True:
        goals = scheduler.milestones()
        for number in [n for n in goals if goals[n] == OUT]:
            scheduler.entrants[number].ended = True
        goals = scheduler.milestones()
        able = [n for n in sorted(goals) if scheduler.entrants[n].epoch < goals[n]]
        running = [n for n in running if n in able]
        waiting = [n for n in able if n not in running]
        while len(running) < slots and (waiting or len(scheduler.entrants) < len(curves)):
            if not waiting:
                waiting = [len(scheduler.entrants)]
                scheduler.entrants[waiting[0]] = Entrant()
            running.append(waiting.pop(0))
        if not running:
            break
        number = chance.choice(running)
        entrant = scheduler.entrants[number]
        epoch = entrant.epoch + 1
        entrant.note(epoch, curves[number][epoch - 1])
        entrant.ended = epoch == EPOCHS
    assert all(entrant.ended for entrant in scheduler.entrants.values())
    return [scheduler.entrants[number].epoch for number in range(len(curves))]


class TestVerdicts:
    @pytest.mark.parametrize("build", [OrderedASHA, OrderedMedian])
    @given(
        curves=curves(st.floats(0, 9) | st.just(float("inf"))),
        slots=st.integers(1, 5),
        seed=st.integers(0, 99),
    )
    def test_are_those_of_one_trial_after_another(
        self, build: Any, curves: Curves, slots: int, seed: int
    ) -> None:
        alone = run_in_some_order(build(EPOCHS, 2, 3), curves, 1, 0)
        assert run_in_some_order(build(EPOCHS, 2, 3), curves, slots, seed) == alone

    @given(curves=curves(st.floats(0, 9)))
    def test_of_asha_are_rays_where_trials_come_in_order(self, curves: Curves) -> None:
        rays: Any = build_scheduler("asha", EPOCHS, grace_period=1)
        rays.set_search_properties("valid_loss", "min")
        controller = SimpleNamespace(get_live_trials=list)
        lengths = []
        for number, curve in enumerate(curves):
            trial = build_trial(number)
            rays.on_trial_add(controller, trial)
            for epoch, loss in enumerate(curve, start=1):
                result = {"epoch": epoch, "valid_loss": loss}
                if rays.on_trial_result(controller, trial, result) == "STOP":
                    break
            lengths.append(epoch)
        assert run_in_some_order(OrderedASHA(EPOCHS, 1, 3), curves, 1, 0) == lengths

    def test_of_median_compare_the_best_with_the_median_of_means(self) -> None:
        curves = [[1.0] * EPOCHS, [2.0] * EPOCHS, [6.0] * EPOCHS]
        for own, length in ((2.0, EPOCHS), (2.1, 3)):
            scheduler = OrderedMedian(EPOCHS, 3, 3)
            assert run_in_some_order(scheduler, [*curves, [own] * EPOCHS], 1, 0)[3] == length

    def test_wait_for_who_is_behind_and_not_for_who_has_ended(self) -> None:
        scheduler = OrderedASHA(EPOCHS, 3, 3)
        scheduler.entrants = {0: Entrant({1: 0.5, 2: 0.5}), 1: Entrant({1: 0.1, 2: 0.1, 3: 0.1})}
        assert scheduler.milestones() == {0: 3, 1: 3}
        scheduler.entrants[0].note(3, 0.5)
        assert scheduler.milestones() == {0: EPOCHS, 1: EPOCHS}
        scheduler.entrants[2] = Entrant({1: 0.9, 2: 0.9, 3: 0.9})
        scheduler.entrants[0].ended = True
        assert scheduler.milestones() == {1: EPOCHS, 2: OUT}

    @given(st.integers(1, 100), st.integers(1, 100), st.floats(1.1, 100))
    def test_are_given_at_rising_epochs_before_the_last(
        self, epochs: int, grace_period: int, factor: float
    ) -> None:
        rungs = place_rungs(epochs, grace_period, factor)
        assert rungs == sorted(rungs)
        assert all(grace_period <= rung < epochs for rung in rungs)
        assert (grace_period < epochs) == bool(rungs)

    def test_on_nobody_are_mild(self) -> None:
        assert not is_worse(9.0, [], fraction=0.5)
        assert not is_worse(9.0, [float("inf")], fraction=0.5)
        assert is_worse(float("inf"), [9.0], fraction=0.5)


class TestPlans:
    @pytest.mark.parametrize("scheduler", [name for name in SCHEDULERS if name not in ORDERED])
    def test_with_other_schedulers_are_refused(self, scheduler: str) -> None:
        plan = Plan(build_config({}), SPACE, "random", scheduler=scheduler, ordered=True)
        with pytest.raises(InputError, match="choose scheduler fifo, asha or median"):
            plan.check()

    def test_with_a_time_budget_are_refused(self) -> None:
        stop = StopConditions(time_budget=9.0)
        with pytest.raises(InputError, match=r"time_budget: .* or --ordered"):
            Plan(build_config({}), SPACE, stop=stop, ordered=True).check()

    def test_without_a_window_are_refused(self) -> None:
        with pytest.raises(InputError, match="W: 0 is out of range"):
            Plan(build_config({}), SPACE, ordered=True, window=0).check()


def end(searcher: StudySearcher, number: int, loss: float) -> None:
    """Let a trial of one epoch come to its end, as Tune tells of it."""
    result = {"epoch": 1, "valid_loss": loss, COST: loss}
    searcher.watch.epoch(number, result)
    searcher.watch.ended(number, "done")
    searcher.on_trial_complete(str(number), result)


class TestWhatIsSeen:
    """Suggestion i has seen exactly the trials up to i - W."""

    def build(self, tmp_path: Any, **options: Any) -> StudySearcher:
        plan = Plan(build_config({}), SPACE, ordered=True, window=3, **options)
        return StudySearcher(
            plan,
            StudyStore(tmp_path),
            [],
            [],
            OrderedWatch(plan.stop, plan.config.objective),
            FIFO(),
        )

    def test_is_the_window(self, tmp_path: Any) -> None:
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

    def test_decides_when_a_search_ends(self, tmp_path: Any) -> None:
        """The target is met by trial 2: the trials asked for without knowing of it are 3 and 4."""
        searcher = self.build(tmp_path, stop=StopConditions(target="loss=0.5"))
        for number, loss in enumerate([0.9, 0.8, 0.4, 0.3, 0.2]):
            assert isinstance(searcher.suggest(str(number)), dict), number
            end(searcher, number, loss)
        assert searcher.watch.reason is None
        assert searcher.suggest("5") == searcher.FINISHED
        assert "valid_loss 0.4 (target 0.5)" in searcher.watch.found
