"""Repeats: which point is trained again, and what a search sees of it."""

import dataclasses
import itertools
import math
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raytune_yesno.search import Observation, build_algorithm
from raytune_yesno.search.repeats import Repeats, estimate_variance, group_repeats, pool
from raytune_yesno.space import Choice, Float

SPACE = {"rate": Float(0.0, 1.0)}


def seen(number: int, loss: float | None, of: int | None = None, **more: object) -> Observation:
    """Return an ended trial, or a running one without a loss."""
    status = "running" if loss is None else "done"
    losses = () if loss is None else (loss,)
    point = {"rate": (number if of is None else of) / 100}
    known = {"loss": loss, "epochs": len(losses), "status": status, "losses": losses, **more}
    return Observation(number, point, repeat_of=of, **known)  # type: ignore[arg-type]


def next_repeat(history: Sequence[Observation], most: int = 5, least: int = 1) -> int | None:
    proposed = Repeats(least, most).propose(build_algorithm("random", SPACE).suggest, 99, history)
    assert proposed is not None
    assert proposed.number == 99
    return proposed.repeat_of


class TestRule:
    def test_repeats_nothing_by_default(self) -> None:
        assert next_repeat([seen(0, 0.1), seen(1, 0.9)], most=1) is None

    def test_trains_every_point_the_least_number_of_times(self) -> None:
        history = [seen(0, 0.9), seen(1, 0.1), seen(2, 0.2, of=1)]
        assert next_repeat(history, least=2) == 0

    def test_repeats_the_best_point_until_it_has_the_most(self) -> None:
        history = [seen(0, 0.9), seen(1, 0.2), seen(2, 0.3, of=1)]
        assert next_repeat(history) == 1
        assert next_repeat(history, most=2) is None

    def test_repeats_another_point_once_that_leads(self) -> None:
        history = [seen(0, 0.5), seen(1, 0.2), seen(2, 0.9, of=1)]
        assert next_repeat(history) == 0

    def test_repeats_no_point_that_leads_clearly(self) -> None:
        noise = [seen(0, 0.50), seen(1, 0.51, of=0), seen(2, 0.49, of=0)]
        assert next_repeat([*noise, seen(3, 0.1)]) is None
        assert next_repeat([*noise, seen(3, 0.49)]) == 3

    def test_parallel_trials_at_most_double_the_results(self) -> None:
        history = [seen(0, 0.9), seen(1, 0.2)]
        assert next_repeat([*history, seen(2, None, of=1)]) is None
        history += [seen(2, 0.3, of=1), seen(3, None, of=1)]
        assert next_repeat(history) == 1

    def test_failed_repeats_count_as_trainings(self) -> None:
        failed = seen(2, 0.3, of=1, status="failed")
        assert next_repeat([seen(0, 0.9), seen(1, 0.2), failed], most=2) is None

    def test_a_point_that_diverged_with_one_seed_does_not_lead(self) -> None:
        diverged = seen(2, 0.1, of=1, status="diverged")
        assert next_repeat([seen(0, 0.9), seen(1, 0.2), diverged]) == 0

    def test_points_that_diverged_are_not_repeated(self) -> None:
        both = [seen(0, 0.5, status="diverged"), seen(1, 0.4, status="diverged")]
        assert next_repeat(both) is None
        assert next_repeat([*both, seen(2, 0.9)]) == 2

    def test_points_whose_first_training_failed_are_not_repeated(self) -> None:
        failed = seen(0, None, status="failed")
        history = [failed, seen(1, 0.1, of=0), seen(2, 0.5), seen(3, 0.52, of=2), seen(4, 0.9)]
        assert next_repeat(history) == 2
        assert next_repeat([failed, seen(1, 0.5), seen(2, 0.5, of=1)], most=2, least=2) is None

    def test_points_of_other_studies_are_not_repeated(self) -> None:
        history = [seen(k, 0.1, elsewhere=True) for k in range(2)]
        history += [seen(2, 0.5), seen(3, 0.6)]
        own = Repeats(1, 5).propose(lambda number, known: {}, 4, history)
        assert own is not None
        assert own.repeat_of == 2

    def test_huge_results_are_compared(self) -> None:
        assert next_repeat([seen(0, 0.3), seen(1, 1e160, of=0), seen(2, 0.2), seen(3, 0.3)]) == 2

    def test_a_finite_search_ends_when_every_point_has_the_most(self) -> None:
        algorithm = build_algorithm("grid", {"act": Choice("relu", "tanh")})
        history: list[Observation] = []
        for number in range(10):
            proposed = Repeats(1, 3).propose(algorithm.suggest, number, history)
            if proposed is None:
                break
            loss = 0.1 * len(history)
            ended = Observation(
                number, proposed.point, loss, 1, "done", (loss,), proposed.repeat_of
            )
            history.append(ended)
        assert [len(trials) for trials in group_repeats(history)] == [3, 3]

    @pytest.mark.parametrize("name", ["random", "tpe", "auto"])
    def test_a_search_over_few_points_repeats_them_once_it_has_tried_all(self, name: str) -> None:
        algorithm = build_algorithm(name, {"act": Choice("relu", "tanh"), "bias": Choice(1, True)})
        history: list[Observation] = []
        for number in range(32):
            proposed = Repeats(1, 3).propose(algorithm.suggest, number, history)
            if proposed is None:
                break
            loss = 0.1 * number
            history.append(dataclasses.replace(proposed, loss=loss, losses=(loss,), status="done"))
        assert [len(trials) for trials in group_repeats(history)] == [3, 3, 3, 3]

    def test_points_that_failed_are_not_repeated_once_no_new_one_is_left(self) -> None:
        failed, bad = seen(0, None, status="failed"), seen(1, 0.5, excesses=(1.0,))
        for history, of in (([failed, bad], 1), ([failed], None)):
            proposed = Repeats(1, 3).propose(lambda *_: None, 9, history)
            assert (proposed and proposed.repeat_of) == of

    def test_points_of_other_studies_are_new_here_and_not_repeated(self) -> None:
        known = [seen(k, 0.1, elsewhere=True) for k in range(2)]
        proposed = Repeats(2, 2).propose(lambda *_: {"rate": 0.0}, 2, [*known, seen(2, 0.5)])
        assert proposed is not None


class TestPool:
    def test_is_the_mean_of_the_results(self) -> None:
        trials = [seen(4, 0.2), seen(7, 0.6, of=4), seen(9, None, of=4), seen(10, 9.0, of=4)]
        trials[-1] = seen(10, 9.0, of=4, status="failed")
        pooled = pool(trials, 1)
        assert (pooled.number, pooled.status, pooled.repeat_of) == (1, "done", None)
        assert pooled.loss == pytest.approx(0.4)
        assert pooled.losses == pytest.approx((0.4,))

    def test_a_point_of_another_study_stays_one(self) -> None:
        trials = [seen(4, 0.2, elsewhere=True), seen(7, 0.6, of=4, elsewhere=True)]
        assert pool(trials, 0).elsewhere
        assert not pool([seen(4, 0.2), seen(7, 0.6, of=4)], 0).elsewhere

    def test_a_single_trial_stays_as_it_is(self) -> None:
        alone = seen(4, 0.2)
        assert pool([alone], 4) == alone

    def test_variance_is_pooled_over_points(self) -> None:
        assert estimate_variance([[1.0, 3.0], [5.0], [2.0, 4.0]]) == pytest.approx(2.0)
        assert estimate_variance([[1.0, 3.0]]) is None


@given(data=st.data())
def test_proposals_depend_only_on_the_records(data: st.DataObject) -> None:
    """A study that is rebuilt from its records at any moment continues as if never interrupted."""
    name = data.draw(st.sampled_from(["random", "tpe", "genetic"]))
    least, more = data.draw(st.integers(1, 2)), data.draw(st.integers(0, 3))
    repeats = Repeats(least, least + more)
    losses = st.floats(0, 1) | st.just(math.inf)
    algorithm = build_algorithm(name, SPACE, seed=1)
    history: list[Observation] = []
    for number in range(12):
        proposed = repeats.propose(algorithm.suggest, number, history)
        again = repeats.propose(
            build_algorithm(name, SPACE, seed=1).suggest, number, tuple(history)
        )
        assert proposed == again
        assert proposed is not None
        status = data.draw(st.sampled_from(["done", "stopped", "diverged", "failed", "running"]))
        loss = None if status == "running" else data.draw(losses)
        curve = () if loss is None else (loss,)
        first = proposed.repeat_of
        ended = Observation(number, proposed.point, loss, len(curve), status, curve, first)  # type: ignore[arg-type]
        history.append(ended)
    for trials in group_repeats(history):
        assert len(trials) <= repeats.most
        assert all(trial.point == trials[0].point for trial in trials)
    numbers = itertools.chain.from_iterable(group_repeats(history))
    assert sorted(trial.number for trial in numbers) == list(range(12))
