"""Schedulers without a cluster: brackets, decisions, options and pairs with searches."""

import math
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ray.tune.experiment import Trial as RayTrial

from raytune_yesno.config import build_config
from raytune_yesno.errors import InputError
from raytune_yesno.schedulers.build import SCHEDULERS, build_scheduler
from raytune_yesno.schedulers.hyperband import Rung, advance, build_band, build_bracket
from raytune_yesno.schedulers.pbt import explore
from raytune_yesno.schedulers.synchronous import STOPPED, TrialState
from raytune_yesno.search import ALGORITHMS
from raytune_yesno.search.cube import build_numpy_generator
from raytune_yesno.space import Choice, Float, Int, Space
from raytune_yesno.tasks.task import find_space
from raytune_yesno.tuning.plan import Plan
from raytune_yesno.tuning.plan_checks import check_plan

SPACE: Space = {
    "learning_rate": Float(1e-4, 1e-2, log=True),
    "batch_size": Choice(2, 4, 8),
    "augment_time_mask": Int(0, 10),
}
EPOCHS = st.integers(1, 300)


class TestHyperbandBrackets:
    def test_equal_those_of_the_paper(self) -> None:
        """The example of Li et al. (2018), table 1: R = 81 and eta = 3."""
        assert build_band(81, 3) == [
            [Rung(81, 1), Rung(27, 3), Rung(9, 9), Rung(3, 27), Rung(1, 81)],
            [Rung(34, 3), Rung(11, 9), Rung(3, 27), Rung(1, 81)],
            [Rung(15, 9), Rung(5, 27), Rung(1, 81)],
            [Rung(8, 27), Rung(2, 81)],
            [Rung(5, 81)],
        ]

    @given(EPOCHS, st.floats(1.5, 100))
    def test_shrink_while_epochs_grow_to_the_last(self, epochs: int, factor: float) -> None:
        for bracket in build_band(epochs, factor):
            assert bracket[0].epochs >= 1
            assert bracket[-1].epochs == epochs
            assert [rung.epochs for rung in bracket] == sorted({rung.epochs for rung in bracket})
            sizes = [rung.trials for rung in bracket]
            assert sizes == sorted(sizes, reverse=True)
            assert sizes[-1] >= 1

    @given(EPOCHS, st.sampled_from((2, 3, 4)))
    def test_cost_about_the_same(self, epochs: int, factor: int) -> None:
        """Algorithm 1 gives each bracket (s_max + 1) R epochs; rounding n up may double them."""
        band = build_band(epochs, factor)
        for bracket in band:
            spent = sum(rung.trials * (rung.epochs - before) for before, rung in pairs(bracket))
            assert spent <= 2 * len(band) * epochs

    @given(EPOCHS, st.integers(1, 200))
    def test_contain_each_trial_once(self, epochs: int, num_trials: int) -> None:
        scheduler: Any = build_scheduler("hyperband", epochs)
        scheduler.num_trials = num_trials
        brackets = scheduler.brackets()
        assert [n for numbers, _ in brackets for n in numbers] == list(range(num_trials))
        assert all(rungs[0].trials == len(numbers) for numbers, rungs in brackets)


def pairs(bracket: list[Rung]) -> list[tuple[int, Rung]]:
    return list(zip([0, *(rung.epochs for rung in bracket)], bracket, strict=False))


class TestHyperbandDecisions:
    RUNGS = build_bracket(6, 1, 9, 3)

    def states(self, *losses: float | None) -> list[TrialState | None]:
        return [TrialState({} if loss is None else {3: (loss,)}) for loss in losses]

    def test_wait_for_the_last_trial_of_a_rung(self) -> None:
        assert [Rung(6, 3), Rung(2, 9)] == self.RUNGS
        assert advance(self.RUNGS, self.states(1, 2, 3, 4, 5, None)) == [3] * 6
        assert advance(self.RUNGS, [*self.states(1, 2, 3, 4, 5), None]) == [3] * 6

    def test_continue_the_best(self) -> None:
        assert advance(self.RUNGS, self.states(3, 1, 4, 2, 5, 6)) == [
            STOPPED,
            9,
            STOPPED,
            9,
            STOPPED,
            STOPPED,
        ]

    def test_do_not_wait_for_a_failed_trial(self) -> None:
        states = self.states(3, 1, 4, 2, 5)
        goals = advance(self.RUNGS, [*states, TrialState(ended=True)])
        assert goals == [STOPPED, 9, STOPPED, 9, STOPPED, STOPPED]

    def test_rank_nan_last(self) -> None:
        states: list[TrialState | None] = self.states(3, 1, 4, 2, 5)
        diverged = TrialState()
        diverged.note(3, math.nan)
        assert advance(self.RUNGS, [diverged, *states]) == [
            STOPPED,
            STOPPED,
            9,
            STOPPED,
            9,
            STOPPED,
        ]

    # Integers: the smallest float, divided by an epoch, is zero.
    @given(st.lists(st.integers(0, 999), min_size=1, max_size=30), st.integers(2, 40))
    def test_train_the_best_trial_for_all_epochs(self, losses: list[int], epochs: int) -> None:
        scheduler: Any = build_scheduler("hyperband", epochs)
        scheduler.num_trials = len(losses)
        states = {number: TrialState() for number in range(len(losses))}
        scheduler.states = states
        while any(goal > states[number].epoch for number, goal in scheduler.milestones().items()):
            for number, goal in scheduler.milestones().items():
                for epoch in range(states[number].epoch + 1, goal + 1):
                    states[number].note(epoch, losses[number] / epoch)
        for numbers, rungs in scheduler.brackets():
            finished = [n for n in numbers if states[n].epoch == epochs]
            assert len(finished) == rungs[-1].trials
            assert min(losses[n] for n in finished) == min(losses[n] for n in numbers)


class TestOptions:
    """Options are refused, or give a scheduler that accepts a trial and its report."""

    @given(
        st.sampled_from(sorted(SCHEDULERS)),
        EPOCHS,
        st.integers(-1, 300),
        st.floats(0, 200) | st.just(math.nan),
    )
    def test_are_refused_or_work(self, name: str, epochs: int, whole: int, number: float) -> None:
        options: dict[str, dict[str, Any]] = {
            "fifo": {},
            "asha": {"grace_period": whole, "reduction_factor": number},
            "hyperband": {"reduction_factor": number},
            "median": {"grace_period": whole, "min_trials": whole},
            "pbt": {"interval": whole, "quantile": number, "step": number},
        }
        try:
            scheduler = build_scheduler(name, epochs, space=SPACE, **options[name])
        except InputError:
            return
        assert scheduler.set_search_properties("valid_loss", "min")
        trial = RayTrial("train", stub=True, config={"number": 0})
        scheduler.on_trial_add(SimpleNamespace(get_live_trials=list), trial)
        result = {"epoch": 1, "valid_loss": 1.0}
        verdict = scheduler.on_trial_result(SimpleNamespace(get_live_trials=list), trial, result)
        assert verdict in ("CONTINUE", "PAUSE", "STOP")

    @pytest.mark.parametrize(
        ("num_objectives", "options", "first"),
        [(1, {}, 4), (2, {}, 8), (2, {"grace_period": 3}, 3)],
    )
    def test_asha_compares_trials_later_with_several_objectives(
        self, num_objectives: int, options: dict[str, Any], first: int
    ) -> None:
        scheduler: Any = build_scheduler("asha", 16, num_objectives=num_objectives, **options)
        assert scheduler.rule.checks[0] == first

    @pytest.mark.parametrize(("options", "continues"), [({}, 2), ({"reduction_factor": 3}, 1)])
    def test_asha_continues_half_of_the_trials_with_several_objectives(
        self, options: dict[str, Any], continues: int
    ) -> None:
        scheduler: Any = build_scheduler("asha", 8, num_objectives=2, **options)
        seen, kept = list[TrialState](), 0
        for loss in (0.1, 0.4, 0.3, 0.2):
            state = TrialState()
            state.note(2, loss, loss)
            kept += not scheduler.rule.stops(state, seen, 2)
            seen.append(state)
        assert kept == continues

    @pytest.mark.parametrize(
        ("name", "options", "message"),
        [
            ("hyperbond", {}, "'hyperband'"),
            ("fifo", {"grace_period": 1}, "grace_period"),
            ("asha", {"reduction_factor": 1.0001}, "reduction_factor.* 1.1 to 100"),
            ("asha", {"grace_period": 9}, "grace_period.* 8"),
            ("hyperband", {"reduction_factor": 1}, "reduction_factor.* 1.5 to 100"),
            ("median", {"min_trials": 0}, "min_trials.* 1"),
            ("pbt", {"interval": 8}, "interval.* 1 to 7"),
            ("pbt", {"quantile": 0.6}, "quantile.* 0.5"),
            ("pbt", {"seed": 3}, "'seed'"),
        ],
    )
    def test_are_refused_with_the_reason(
        self, name: str, options: dict[str, Any], message: str
    ) -> None:
        plan = Plan(
            build_config({"epochs": 8}),
            SPACE,
            search="random",
            scheduler=name,
            scheduler_options=options,
        )
        with pytest.raises(InputError, match=message):
            check_plan(plan)


REFUSED = {
    *(("fifo", "bohb"), ("median", "bohb")),
    *(("pbt", search) for search in ALGORITHMS if search != "random"),
}


class TestPairs:
    @pytest.mark.parametrize("scheduler", sorted(SCHEDULERS))
    @pytest.mark.parametrize("search", sorted(ALGORITHMS))
    def test_are_refused_with_the_reason_or_accepted(self, search: str, scheduler: str) -> None:
        options = {"manual": {"points": [{"batch_size": 2}]}}.get(search, {})
        plan = Plan(
            build_config({"epochs": 8}),
            SPACE,
            search=search,
            search_options=options,
            scheduler=scheduler,
        )
        if (scheduler, search) in REFUSED:
            with pytest.raises(InputError) as caught:
                check_plan(plan)
            assert f"search {search} with scheduler {scheduler}" in str(caught.value)
            assert "; choose" in str(caught.value)
        else:
            check_plan(plan)

    def test_leave_a_search_for_each_scheduler_and_vice_versa(self) -> None:
        for scheduler in SCHEDULERS:
            assert any((scheduler, search) not in REFUSED for search in ALGORITHMS)
        for search in ALGORITHMS:
            assert any((scheduler, search) not in REFUSED for scheduler in SCHEDULERS)


class TestExplore:
    @given(st.integers(0, 10_000), st.floats(0, 1), st.floats(0.001, 1))
    def test_stays_in_the_space(self, seed: int, probability: float, step: float) -> None:
        space = find_space(build_config())
        generator = build_numpy_generator(seed)
        point = {name: domain.decode(generator.random()) for name, domain in space.items()}
        near = explore(space, point, generator, resample_probability=probability, step=step)
        assert list(near) == list(point)
        assert all(space[name].contains(value) for name, value in near.items())

    def test_moves_numbers_by_a_step_on_their_own_scale(self) -> None:
        point = {"learning_rate": 1e-3, "batch_size": 4, "augment_time_mask": 5}
        seen = set()
        for seed in range(20):
            near = explore(
                SPACE, point, build_numpy_generator(seed), resample_probability=0, step=0.25
            )
            assert near["batch_size"] == 4
            seen.add((round(math.log10(near["learning_rate"]), 6), near["augment_time_mask"]))
        assert seen == {(-3.5, 2), (-3.5, 8), (-2.5, 2), (-2.5, 8)}

    @pytest.mark.parametrize(
        ("domain", "value", "expected"),
        [
            (Int(0, 10), 5, {4, 6}),
            (Float(0, 1, step=0.5), 0.5, {0.0, 1.0}),
            (Float(0, 0.3, step=0.1), 0.2, {0.1, 0.3}),
            (Float(1, 4, step=1, log=True), 4.0, {3.0, 4.0}),
        ],
    )
    def test_moves_a_value_by_at_least_its_step(
        self, domain: Float | Int, value: float, expected: set[float]
    ) -> None:
        near = {
            explore({"x": domain}, {"x": value}, build_numpy_generator(seed), **STAYING)["x"]
            for seed in range(20)
        }
        assert near == expected

    def test_keeps_inherited_settings(self) -> None:
        config = build_config({"model": "cnn"})
        plan = Plan(config, find_space(config), search="random", scheduler="pbt")
        explored = plan.build_scheduler().space
        kept = find_space(config).keys() - explored.keys()
        assert kept == {"channels", "kernel_size", "hidden_units", "activation", "optimizer"}
        assert explored

    def test_depends_on_the_seed(self) -> None:
        point = {"learning_rate": 1e-3, "batch_size": 4, "augment_time_mask": 5}
        options: dict[str, Any] = {"resample_probability": 0.5, "step": 0.1}
        points = [
            explore(SPACE, point, build_numpy_generator(s, 1, 2), **options) for s in (3, 3, 4)
        ]
        assert points[0] == points[1] != points[2]


STAYING: dict[str, Any] = {"resample_probability": 0, "step": 0.001}
