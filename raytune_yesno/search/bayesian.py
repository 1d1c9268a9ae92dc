"""Bayesian optimisation with a Gaussian process."""

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from raytune_yesno.errors import InputError, suggest_name
from raytune_yesno.search.candidates import draw_near, draw_sobol, drop_seen
from raytune_yesno.search.cube import UnitCube, build_numpy_generator
from raytune_yesno.search.feasibility import model_failures, score_limits
from raytune_yesno.search.loss_scales import scale_linearly
from raytune_yesno.search.observation import (
    Observation,
    select_pending,
    select_results,
    select_subset,
    select_tried,
)
from raytune_yesno.space import Choice, Point, Space
from raytune_yesno.values import check_at_least

_NUM_EXPLORING = 2000  # candidates drawn uniformly from the cube
_NUM_LOCAL = 1000  # candidates near the best results, and again near the best candidate


class Bayesian:
    """Bayesian optimisation with a Gaussian process (Jones et al., 1998; Snoek et al., 2012).

    The process is scikit-learn's over the unit cube: a Matern 5/2 kernel with one length scale a
    dimension, and noise. Choices are one-hot. An integer is compared at the middle of its cell, so
    that the model is constant within a cell (Garrido-Merchan & Hernandez-Lobato, 2020). A number
    that is not always active is a position on an arc, and the centre of the circle where it is not
    active (the arc kernel of Swersky et al., 2014).

    The acquisition functions are those of the library bayesian-optimization. They are maximised
    over random candidates and over candidates near the best results. The library's own optimiser,
    differential evolution in mixed spaces, takes seconds, and its constant liar does not support
    mixed spaces.

    A running trial enters the model with the model's own mean at its point (the kriging believer
    of Ginsbourger et al., 2010). Once a trial has failed, the acquisition function counts by the
    probability that a trial does not fail. No point is proposed twice while others remain.

    Args:
        space: the search space.
        seed: seed of all draws.
        acquisition: ``ei`` (expected improvement), ``poi`` (probability of improvement) or ``ucb``
            (upper confidence bound).
        xi: exploration of ``ei`` and ``poi``, in standard deviations of the losses.
        kappa: exploration of ``ucb``.
        num_initial: results before the model is used; until then, points are those of a scrambled
            Sobol sequence.
        max_fitted: results that length scales are fitted to; the cost is cubic in it. Half of them
            are the best, half the latest.
        max_results: results in the model, chosen in the same way.

    Raises:
        InputError: the acquisition function is unknown, or an option is out of range.
    """

    def __init__(
        self,
        space: Space,
        *,
        seed: int,
        acquisition: str = "ei",
        xi: float = 0.01,
        kappa: float = 2.0,
        num_initial: int = 10,
        max_fitted: int = 150,
        max_results: int = 1000,
    ) -> None:
        if acquisition not in ("ei", "poi", "ucb"):
            raise InputError(
                f"unknown acquisition {acquisition!r}; "
                f"{suggest_name(acquisition, ('ei', 'poi', 'ucb'))}"
            )
        check_at_least(0, xi=xi)
        check_at_least(1, max_fitted=max_fitted, max_results=max_results)
        self.cube = UnitCube(space)
        self.seed = seed
        self.acquisition = acquisition
        self.xi = xi
        self.kappa = kappa
        self.num_initial = max(num_initial, 2)
        self.max_fitted = max_fitted
        self.max_results = max_results

    def suggest(self, number: int, history: Sequence[Observation]) -> Point:
        """Return the point of trial ``number``, given the history."""
        from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

        # One thread: with more, the order of sums, and so the points, would depend on the number
        # of cores. At these sizes one thread is as fast.
        with threadpool_limits(limits=1):
            return self._suggest(number, history)

    def _suggest(self, number: int, history: Sequence[Observation]) -> Point:
        if not self.cube.dim:
            return self.cube.decode([])
        results, losses = select_results(history)
        if len(results) < self.num_initial:
            return self.cube.decode(draw_sobol(self.cube, self.seed, number))
        rows_ND = self.cube.encode(results)
        pending_PD = self.cube.encode(select_pending(history))
        model = _Surrogate(self, rows_ND, scale_linearly(np.array(losses, dtype=float)), pending_PD)
        failures = model_failures(self.cube, history, self.max_fitted)

        def score(u_CD: np.ndarray) -> np.ndarray:
            score_C = model.score(u_CD)
            if not failures:
                return score_C
            return np.asarray((score_C - score_C.min()) * np.exp(score_limits(failures, u_CD)))

        generator = build_numpy_generator(self.seed, number)
        exploring_CD = generator.random((_NUM_EXPLORING, self.cube.dim))
        best_KD = rows_ND[np.argsort(losses, kind="stable")[:5]]
        near_CD = draw_near(self.cube, generator, best_KD, _NUM_LOCAL)
        tried = select_tried([*results, *select_pending(history)])
        seen = {row.tobytes() for row in self.cube.encode(tried)}
        candidates_CD = drop_seen(self.cube, np.concatenate([exploring_CD, near_CD]), seen)
        first_D = candidates_CD[np.argmax(score(candidates_CD))]
        nearer_CD = draw_near(self.cube, generator, first_D[None], _NUM_LOCAL)
        candidates_CD = drop_seen(self.cube, np.concatenate([first_D[None], nearer_CD]), seen)
        return self.cube.decode(candidates_CD[np.argmax(score(candidates_CD))])


class _Surrogate:
    """A fitted Gaussian process with its acquisition function."""

    def __init__(
        self, search: Bayesian, rows_ND: np.ndarray, losses_N: np.ndarray, pending_PD: np.ndarray
    ) -> None:
        from bayes_opt import acquisition
        from sklearn.gaussian_process import GaussianProcessRegressor
        from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

        self.search = search
        x_NF, y_N = self._features(rows_ND), -losses_N  # the library maximises
        scales = np.full(x_NF.shape[1], 0.5)
        kernel = ConstantKernel(1.0, (0.05, 20)) * Matern(scales, (0.05, 20), nu=2.5)
        process = GaussianProcessRegressor(kernel + WhiteKernel(1e-3, (1e-6, 1)), random_state=0)
        kept = _half_best(losses_N, search.max_fitted)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # length scales at their bounds are harmless
            process.fit(x_NF[kept], y_N[kept])
        kept = _half_best(losses_N, search.max_results)
        x_NF, y_N = x_NF[kept], y_N[kept]
        process.set_params(kernel=process.kernel_, optimizer=None)
        process.fit(x_NF, y_N)
        if len(pending_PD):
            pending_PF = self._features(pending_PD)
            believed_P = process.predict(pending_PF)
            process.fit(np.concatenate([x_NF, pending_PF]), np.concatenate([y_N, believed_P]))
        self.process = process
        self.acquisition: Any
        if search.acquisition == "ucb":
            self.acquisition = acquisition.UpperConfidenceBound(kappa=search.kappa)
        elif search.acquisition == "poi":
            self.acquisition = acquisition.ProbabilityOfImprovement(xi=search.xi)
        else:
            self.acquisition = acquisition.ExpectedImprovement(xi=search.xi)
        self.acquisition.y_max = y_N.max()

    def score(self, u_CD: np.ndarray) -> np.ndarray:
        """Return the acquisition function at C candidates; more is better."""
        mean_C, std_C = self.process.predict(self._features(u_CD), return_std=True)
        return np.asarray(self.acquisition.base_acq(mean_C, np.maximum(std_C, 1e-9)))

    def _features(self, u_CD: np.ndarray) -> np.ndarray:
        """Return features x_CF: numbers as they are, choices one-hot, scaled by 0.5."""
        columns, cube = [], self.search.cube
        active_CD = cube.find_active(u_CD)
        for dim, domain in enumerate(cube.free.values()):
            u_C, active_C1 = u_CD[:, dim], active_CD[:, dim, None]
            if isinstance(domain, Choice):
                is_option_CF = np.floor(u_C[:, None] * domain.num_values) == np.arange(
                    domain.num_values
                )
                columns.append(0.5 * (is_option_CF & active_C1))
            elif dim in cube.conditions:
                angle_C1 = np.pi / 2 * (u_C[:, None] - 0.5)
                arc_C2 = np.concatenate([np.cos(angle_C1), np.sin(angle_C1)], axis=1)
                columns.append(2 / np.pi * arc_C2 * active_C1)
            else:
                columns.append(u_C[:, None])
        return np.concatenate(columns, axis=1)


def _half_best(losses_N: np.ndarray, size: int) -> list[int]:
    return select_subset(losses_N.tolist(), size // 2, size - size // 2)
