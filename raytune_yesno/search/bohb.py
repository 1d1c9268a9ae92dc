"""The model of BOHB (Bayesian optimisation and Hyperband)."""

from collections.abc import Sequence

import numpy as np

from raytune_yesno.search.candidates import drop_invalid
from raytune_yesno.search.cube import UnitCube, build_numpy_generator
from raytune_yesno.search.observation import Observation, losses_at
from raytune_yesno.space import Choice, Point, Space
from raytune_yesno.values import check_at_least


class BOHB:
    """A search by the ratio of two kernel densities at one budget (Falkner et al., 2018, sec. 3).

    The budget is the largest number of epochs that at least ``min_results`` + 2 trials have
    reached. Density l is estimated from the best of those trials, density g from the others (eq.
    2-3). The proposal is the candidate drawn from l with the largest l / g. Use it with Hyperband
    or another scheduler that stops most trials early. Running trials count at the budgets that
    they have reached.

    Args:
        space: the search space.
        seed: seed of all draws.
        min_results: points that a density needs at least; None for one more than there are
            dimensions, as in the paper.
        top_fraction: share of the trials that shape l; at least ``min_results`` of them.
        num_candidates: draws from l.
        random_fraction: probability of a uniform proposal.
        bandwidth_factor: how much wider than estimated l is drawn from.
        min_bandwidth: smallest bandwidth, as a share of the cube.

    Raises:
        InputError: an option is out of range.
    """

    def __init__(
        self,
        space: Space,
        *,
        seed: int,
        min_results: int | None = None,
        top_fraction: float = 0.15,
        num_candidates: int = 64,
        random_fraction: float = 1 / 3,
        bandwidth_factor: float = 3.0,
        min_bandwidth: float = 1e-3,
    ) -> None:
        check_at_least(1, num_candidates=num_candidates)
        self.cube = UnitCube(space)
        self.seed = seed
        self.min_results = max(self.cube.dim + 1 if min_results is None else min_results, 2)
        self.top_fraction = top_fraction
        self.num_candidates = num_candidates
        self.random_fraction = random_fraction
        self.bandwidth_factor = bandwidth_factor
        self.min_bandwidth = min_bandwidth
        self.num_options_D = np.array(
            [d.num_values if isinstance(d, Choice) else 0 for d in self.cube.free.values()]
        )

    def suggest(self, number: int, history: Sequence[Observation]) -> Point:
        """Return the point of trial ``number``, given the history."""
        generator = build_numpy_generator(self.seed, number, 1)
        trained = (seen for seen in history if seen.epochs and seen.status != "failed")
        budgets = sorted((seen.epochs for seen in trained), reverse=True)
        num_needed = self.min_results + 2
        if (
            not self.cube.dim
            or len(budgets) < num_needed
            or generator.random() < self.random_fraction
        ):
            return self.cube.draw(self.seed, number)
        results, losses = losses_at(budgets[num_needed - 1], history)
        if len(results) < num_needed:
            return self.cube.draw(self.seed, number)
        order = np.argsort(losses, kind="stable")
        rows_ND = self.cube.encode(results)[order]
        num_good = max(self.min_results, int(self.top_fraction * len(rows_ND)))
        num_bad = max(self.min_results, len(rows_ND) - num_good)
        good_ND, bad_ND = rows_ND[:num_good], rows_ND[-num_bad:]
        candidates_CD = drop_invalid(self.cube, self._draw(generator, good_ND))
        ratio_C = self._log_density(candidates_CD, good_ND) - self._log_density(
            candidates_CD, bad_ND
        )
        return self.cube.decode(candidates_CD[int(np.argmax(ratio_C))])

    def _bandwidths(self, rows_ND: np.ndarray) -> np.ndarray:
        """Return one bandwidth a dimension: Scott's rule, statsmodels' normal reference.

        For a choice it is the probability of the other options, at most that of a uniform draw.
        """
        num_rows, num_dims = rows_ND.shape
        deviation_D = rows_ND.std(axis=0)
        if self.cube.conditions:
            active_ND = self.cube.find_active(rows_ND)
            known_ND = np.where(active_ND, rows_ND, np.nan)
            # One active value, or none, tells no deviation: that of a uniform distribution.
            few_D = active_ND.sum(axis=0) < 2
            known_ND[:, few_D] = 0.5
            deviation_D = np.where(few_D, 12**-0.5, np.nanstd(known_ND, axis=0))
        width_D = 1.06 * deviation_D * num_rows ** (-1 / (4 + num_dims))
        is_choice_D = self.num_options_D > 0
        width_D[is_choice_D] = np.minimum(
            width_D[is_choice_D], 1 - 1 / self.num_options_D[is_choice_D]
        )
        return np.asarray(np.maximum(width_D, self.min_bandwidth))

    def _draw(self, generator: np.random.Generator, rows_ND: np.ndarray) -> np.ndarray:
        """Return candidates u_CD from the widened density around the good rows."""
        shape = (self.num_candidates, self.cube.dim)
        centre_CD = rows_ND[generator.integers(len(rows_ND), size=self.num_candidates)]
        width_D = self._bandwidths(rows_ND)
        # Numbers: a truncated normal distribution, by inverting its cumulative distribution.
        from scipy.stats import truncnorm

        scale_D = width_D * self.bandwidth_factor
        drawn_CD = truncnorm.ppf(
            generator.random(shape), -centre_CD / scale_D, (1 - centre_CD) / scale_D
        )
        drawn_CD = np.clip(centre_CD + drawn_CD * scale_D, 0, 1)
        # Choices: the option of the centre, or, with the bandwidth as probability, any option.
        keep_CD = generator.random(shape) >= np.minimum(width_D * self.bandwidth_factor, 1)
        any_CD = generator.random(shape)
        if self.cube.conditions:  # a row says nothing on what is not active in it
            is_known_CD = self.cube.find_active(centre_CD)
            keep_CD &= is_known_CD
            drawn_CD = np.where(is_known_CD, drawn_CD, any_CD)
        return np.where(self.num_options_D > 0, np.where(keep_CD, centre_CD, any_CD), drawn_CD)

    def _log_density(self, candidates_CD: np.ndarray, rows_ND: np.ndarray) -> np.ndarray:
        """Return the log density at each candidate: a product kernel around each row."""
        from scipy.special import logsumexp
        from scipy.stats import norm

        width_D = self._bandwidths(rows_ND)
        a_CND = candidates_CD[:, None, :]
        b_ND = rows_ND[None, :, :]
        mass_ND = norm.cdf((1 - b_ND) / width_D) - norm.cdf(-b_ND / width_D)
        normal_CND = norm.logpdf(a_CND, b_ND, width_D) - np.log(mass_ND)
        num_D = np.maximum(self.num_options_D, 2)
        same_CND = np.floor(a_CND * num_D) == np.floor(b_ND * num_D)
        # Aitchison & Aitken (1976)
        choice_CND = np.log(np.where(same_CND, 1 - width_D, width_D / (num_D - 1)))
        kernel_CND = np.where(self.num_options_D > 0, choice_CND, normal_CND)
        if self.cube.conditions:
            active_CND = self.cube.find_active(candidates_CD)[:, None] & self.cube.find_active(
                rows_ND
            )
            uniform_D = np.where(self.num_options_D > 0, -np.log(num_D), 0.0)
            kernel_CND = np.where(active_CND, kernel_CND, uniform_D)
            kernel_CND *= self.cube.find_active(candidates_CD)[:, None]
        return np.asarray(logsumexp(kernel_CND.sum(axis=2), axis=1) - np.log(len(rows_ND)))
