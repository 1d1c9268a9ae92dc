"""The default search: a space-filling start, then a Gaussian process that ends locally."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from raytune_yesno import pareto
from raytune_yesno.search.branches import Branches
from raytune_yesno.search.candidates import draw_near, draw_sobol, drop_seen
from raytune_yesno.search.cube import UnitCube, build_numpy_generator
from raytune_yesno.search.feasibility import (
    Bounded,
    build_process,
    model_failures,
    model_limits,
    score_limits,
)
from raytune_yesno.search.gaussian import GaussianProcess
from raytune_yesno.search.hypervolume_improvement import choose_bound, score_hypervolume
from raytune_yesno.search.loss_scales import warp
from raytune_yesno.search.multi_objective import Scalarised, has_vector, order_losses, order_results
from raytune_yesno.search.observation import (
    Observation,
    select_pending,
    select_results,
    select_subset,
    select_tried,
)
from raytune_yesno.search.tpe import TPE
from raytune_yesno.space import Point, Space
from raytune_yesno.values import check_at_least

Score = Callable[[np.ndarray], np.ndarray]

_MAX_LISTED = 1500  # a space with at most so many points is searched whole
_NUM_EXPLORING = 800  # candidates drawn uniformly from the cube
_NUM_LOCAL = 400  # candidates near the best results, and again near the best candidates
_BRANCH_EVERY = 2  # every second proposal goes to a branch that is due
_EXTEND_EVERY = 4  # every fourth proposal may lie beyond the ends of a front
_ORDER_EVERY = 2  # with noise, every second proposal is by order
_NUM_ROUNDS = 3  # how often candidates are drawn near the best candidates
_MAX_NOISE = 0.01
"""The largest share of a cost's variance that may be noise if models are to choose all points.
Where results crowd on one part of the front, the share is small even if trainings are noisy."""


class Auto:
    """The search that ``tune`` uses by default.

    It begins with a scrambled Sobol sequence. From ``num_initial`` results on, it proposes the
    point of the largest expected improvement under a Gaussian process
    (:class:`raytune_yesno.search.gaussian.GaussianProcess`), found by candidates over the whole
    space, near the best results, and ever nearer to the best candidates.

    Losses are mapped to their normal scores mixed with a power of them, so that one huge loss does
    not hide the differences between the good ones. Improvement is measured against the best mean
    of the model, not the best result, which may be luck. A running trial counts as a result with
    the model's mean (kriging believer, Ginsbourger et al., 2010). No point is proposed twice while
    there are others among the candidates.

    If options have parameters of their own, every second proposal explores a branch of the space
    that had few trials, see :class:`raytune_yesno.search.branches.Branches`.

    With several objectives, each cost has a model of its own, and the proposal is the point of the
    largest expected hypervolume improvement; for every fourth one, a point beyond an end of the
    front counts as if it were at that end. Trainings are noisy, as some do not learn, and then the
    best points of a model are near those that it knows. So if a model takes more than a hundredth
    of a cost's variance for noise, every second proposal is that of multi-objective TPE, which
    uses only the order of non-dominated sorting and explores more. A limit that is only known after
    training has a model, too: improvement counts by the probability that the limit is kept. It also
    counts by the probability that the trial does not fail, once one has failed.

    Args:
        space: the search space.
        seed: seed of all draws.
        num_initial: results before the model is used.
        max_fitted: results that the model's parameters are fitted to: half the best, half the
            latest. The cost of a suggestion is cubic in it. At least 2.
        max_results: results that the model predicts from, chosen in the same way; at least 2.

    Raises:
        InputError: an option is out of range.
    """

    def __init__(
        self,
        space: Space,
        *,
        seed: int,
        num_initial: int = 8,
        max_fitted: int = 100,
        max_results: int = 300,
    ) -> None:
        check_at_least(2, max_fitted=max_fitted, max_results=max_results)
        self.cube = UnitCube(space)
        self.branches = Branches(self.cube, seed)
        self.seed = seed
        self.num_initial = max(num_initial, 2)
        self.by_order = Scalarised(TPE(space, seed=seed, num_initial=1), order_losses)
        self.max_fitted = max_fitted
        self.max_results = max_results

    def suggest(self, number: int, history: Sequence[Observation]) -> Point:
        """Return the point of trial ``number``, given the history."""
        from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

        if not self.cube.dim:
            return self.cube.decode([])
        results, losses = select_results(history)
        if len(results) < self.num_initial:
            return self.cube.decode(draw_sobol(self.cube, self.seed, number))
        if any(seen.costs or seen.excesses for seen in results):
            losses = order_results(results)
        # One thread: with more, the order of sums, and so the points, would depend on the number
        # of cores. At these sizes one thread is as fast.
        with threadpool_limits(limits=1):
            return self._suggest(number, results, losses, history)

    def _suggest(
        self,
        number: int,
        results: list[Observation],
        losses: list[float],
        history: Sequence[Observation],
    ) -> Point:
        kept = select_subset(losses, self.max_results // 2, self.max_results // 2)
        rows_ND = self.cube.encode([results[index] for index in kept])
        losses_N = np.array([losses[index] for index in kept], dtype=float)
        pending_PD = self.cube.encode(select_pending(history))
        known = [results[index] for index in kept]
        limits = model_failures(self.cube, history, self.max_fitted)
        branch = self.branches.find_due(history) if number % _BRANCH_EVERY else None
        if any(seen.costs or seen.excesses for seen in known):
            fits = self._fit_costs(known, rows_ND, pending_PD)
            is_noisy = len(fits) > 1 and max(fit.process.noise for fit in fits) > _MAX_NOISE
            if is_noisy and branch is None and number % _ORDER_EVERY:
                point = self.by_order.suggest(number, history)
                assert point is not None  # TPE proposes points without end
                return point
            limits += model_limits(self.cube, history, self.max_fitted)
            score, best_ND = self._model_several(
                known, rows_ND, losses_N, fits, limits, extends=number % _EXTEND_EVERY == 0
            )
        else:
            score, best_ND = self._model_one(rows_ND, losses_N, pending_PD, limits)
        generator = build_numpy_generator(self.seed, number)
        seen = {row.tobytes() for row in self.cube.encode(select_tried(history))}
        if branch is not None:
            is_in_N = [each == branch for each in self.branches.find(best_ND)]
            best_ND = best_ND[is_in_N] if any(is_in_N) else best_ND

        def select(*parts: np.ndarray) -> np.ndarray:
            u_CD = np.concatenate(parts)
            if branch is not None:
                u_CD = self.branches.move(u_CD, branch, generator)
            return drop_seen(self.cube, u_CD, seen)

        near_CD = draw_near(self.cube, generator, best_ND[:5], _NUM_LOCAL)
        u_CD = select(self._explore(generator), near_CD)
        for _ in range(_NUM_ROUNDS):
            score_C = score(u_CD)
            first_CD = u_CD[np.argsort(-score_C, kind="stable")[:4]]
            u_CD = select(first_CD, draw_near(self.cube, generator, first_CD, _NUM_LOCAL))
        return self.cube.decode(u_CD[np.argmax(score(u_CD))])

    def _model_one(
        self,
        rows_ND: np.ndarray,
        losses_N: np.ndarray,
        pending_PD: np.ndarray,
        limits: Sequence[Bounded],
    ) -> tuple[Score, np.ndarray]:
        """Return the score of candidates, and the rows from the best one on, for one loss."""
        fit = self._fit(rows_ND, losses_N, pending_PD)
        best_ND = rows_ND[np.argsort(fit.mean_N, kind="stable")]

        def score(u_CD: np.ndarray) -> np.ndarray:
            improvement_C = score_improvement(fit.process, u_CD, fit.mean_N.min())
            return improvement_C + score_limits(limits, u_CD)

        return score, best_ND

    def _fit_costs(
        self, results: list[Observation], rows_ND: np.ndarray, pending_PD: np.ndarray
    ) -> "list[_Fit]":
        """Return a model of each cost."""
        num_costs = max(len(seen.all_costs) for seen in results)
        columns = [
            select_results(
                replace(seen, loss=seen.all_costs[m] if len(seen.all_costs) > m else None)
                for seen in results
            )[1]
            for m in range(num_costs)
        ]
        # On its own scale: hypervolumes of logarithms or ranks favour the ends of the front.
        return [self._fit(rows_ND, np.array(column), pending_PD, 1) for column in columns]

    def _model_several(
        self,
        results: list[Observation],
        rows_ND: np.ndarray,
        order_N: np.ndarray,
        fits: "Sequence[_Fit]",
        limits: Sequence[Bounded],
        *,
        extends: bool,
    ) -> tuple[Score, np.ndarray]:
        """Return the same for several costs and limits, each with a model of its own.

        The score is the expected hypervolume improvement times the probability that all limits are
        kept (Gardner et al., 2014); without any result that keeps them, that probability alone.
        """
        mean_NM = np.stack([fit.mean_N for fit in fits], axis=1)
        is_feasible_N = np.array([seen.is_feasible and has_vector(seen) for seen in results])
        best_ND = rows_ND[np.argsort(order_N, kind="stable")]
        if not is_feasible_N.any():
            return lambda u_CD: score_limits(limits, u_CD), best_ND
        feasible_FM = mean_NM[is_feasible_N]
        front_FM = feasible_FM[pareto.find_front(feasible_FM.tolist())]
        reference_M = choose_bound(front_FM, mean_NM)
        # A front of one point, such as that of one objective, has no ends.
        end_M = front_FM.max(axis=0) if extends and len(front_FM) > 1 else np.inf

        def score(u_CD: np.ndarray) -> np.ndarray:
            predicted = [fit.process.predict(u_CD) for fit in fits]
            mean_CM, std_CM = (np.stack(each, axis=1) for each in zip(*predicted, strict=True))
            # Beyond the reference point nothing would be gained, and a front that lacks large
            # networks with fewer errors would never be extended to them. Where the ends are known,
            # such points are wasted.
            mean_CM = np.minimum(mean_CM, end_M)
            score_C = score_hypervolume(mean_CM, std_CM, front_FM, reference_M)
            return np.asarray(score_C + score_limits(limits, u_CD))

        return score, best_ND

    def _fit(
        self,
        rows_ND: np.ndarray,
        losses_N: np.ndarray,
        pending_PD: np.ndarray,
        num_scales: int | None = None,
    ) -> "_Fit":
        """Return the model of a cost.

        Of the first ``num_scales`` scales of the losses (None for all), that one is used on which
        the model predicts the order of the results best, each from the others.
        """
        half = self.max_fitted // 2
        fitted = select_subset(losses_N.tolist(), half, half)
        rank_N = np.argsort(np.argsort(losses_N[fitted], kind="stable"))
        best, chosen = -np.inf, build_process(self.cube)
        for y_N in warp(losses_N)[:num_scales]:
            process = build_process(self.cube)
            process.theta = chosen.theta
            process.fit(rows_ND[fitted], y_N[fitted])
            process.condition(rows_ND[fitted], y_N[fitted])
            predicted_N = process.predict_left_out(y_N[fitted])
            order_N = np.argsort(np.argsort(predicted_N, kind="stable"))
            score = -float(np.square(order_N - rank_N).sum())
            if score > best:
                best, chosen, chosen_N = score, process, y_N
        chosen.condition(rows_ND, chosen_N)
        mean_N = chosen.predict_mean(rows_ND)
        if len(pending_PD):
            believed_P = chosen.predict_mean(pending_PD)
            chosen.condition(
                np.concatenate([rows_ND, pending_PD]), np.concatenate([chosen_N, believed_P])
            )
        return _Fit(chosen, mean_N)

    def _explore(self, generator: np.random.Generator) -> np.ndarray:
        """Return candidates over the whole space: all of its points if they are few."""
        if self.cube.num_combinations > _MAX_LISTED:
            return generator.random((_NUM_EXPLORING, self.cube.dim))
        rows = list(self.cube.list_rows())
        return np.array(rows) if rows else generator.random((1, self.cube.dim))


@dataclass(frozen=True)
class _Fit:
    """A model of a cost.

    Attributes:
        process: the model.
        mean_N: its means at the results.
    """

    process: GaussianProcess
    mean_N: np.ndarray


def score_improvement(process: GaussianProcess, u_CD: np.ndarray, best: float) -> np.ndarray:
    """Return the logarithm of the expected improvement over ``best`` at C candidates."""
    from scipy.special import erfcx, log_ndtr

    mean_C, std_C = process.predict(u_CD)
    z_C = (best - mean_C) / std_C
    log_density_C = -0.5 * z_C**2 - 0.5 * np.log(2 * np.pi)
    # log(phi(z) + z Phi(z)); far below 0 the sum cancels, so that the ratio Phi / phi is used.
    near_C = np.maximum(z_C, -20)
    ratio_C = np.sqrt(np.pi / 2) * erfcx(-np.minimum(near_C, 0) / np.sqrt(2))
    low_C = log_density_C + np.log(np.maximum(1 + np.minimum(near_C, 0) * ratio_C, 1e-12))
    low_C -= 2 * np.log(np.maximum(-z_C / 20, 1))
    density_C = np.exp(log_density_C)
    above_C = np.maximum(z_C, 0) * np.exp(log_ndtr(np.maximum(z_C, 0)))
    high_C = np.log(np.maximum(density_C + above_C, 1e-300))
    return np.asarray(np.where(z_C < 0, low_C, high_C) + np.log(std_C))
