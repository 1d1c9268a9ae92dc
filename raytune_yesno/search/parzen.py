"""A kernel density estimate over the unit cube."""

import numpy as np

from raytune_yesno.search.cube import UnitCube
from raytune_yesno.space import Choice


class Parzen:
    """A joint density of all D dimensions: one kernel around each of N rows, and a prior.

    Kernels are products over the dimensions, as in BOHB (Falkner et al., 2018, sec. 4.1) and in
    Optuna's multivariate TPE. For a number, the factor is a normal distribution truncated to the
    cube. Its width is the distance to the farther neighbour in that dimension (Bergstra et al.,
    2011, sec. 4), at least 1 / min(100, N + 2). For an integer, it is the mass of that distribution
    in the integer's cell. For a choice, it is the option of the row, mixed with a uniform
    distribution by the weight of the prior. The prior is one more kernel: a normal distribution
    around the centre of the cube with width 1, and uniform over options. The factor of a dimension
    that is not active in the candidate is 1, and that of one that is not active in the row is the
    prior's.

    Axes: N rows, M = N + 1 kernels, C candidates, D dimensions.

    Args:
        cube: the unit cube of the space.
        rows_ND: rows of the cube.
        prior_weight: weight of the prior; each row has weight 1.
    """

    def __init__(self, cube: UnitCube, rows_ND: np.ndarray, prior_weight: float) -> None:
        num_rows, num_dims = rows_ND.shape
        self.cube, self.rows_ND = cube, rows_ND
        self.num_options_D = np.array(
            [d.num_values if isinstance(d, Choice) else 0 for d in cube.free.values()]
        )
        self.weight_M = np.append(np.ones(num_rows), prior_weight) / (num_rows + prior_weight)
        self.anything = prior_weight / (num_rows + prior_weight)
        self.centre_MD = np.concatenate([rows_ND, np.full((1, num_dims), 0.5)])
        active_ND = cube.find_active(rows_ND)
        self.is_prior_MD = np.concatenate([~active_ND, np.ones((1, num_dims), dtype=bool)])
        widths_ND = _neighbour_widths(rows_ND)
        for dim in cube.conditions:
            known_N = active_ND[:, dim]
            widths_ND[known_N, dim] = _neighbour_widths(rows_ND[known_N][:, [dim]])[:, 0]
            widths_ND[~known_N, dim] = 1.0
        self.width_MD = np.concatenate([widths_ND, np.ones((1, num_dims))])

    def draw(self, generator: np.random.Generator, num: int) -> np.ndarray:
        """Return ``num`` rows u_CD drawn from the density."""
        from scipy.special import ndtr, ndtri

        picked_C = generator.choice(len(self.weight_M), size=num, p=self.weight_M)
        centre_CD, width_CD = self.centre_MD[picked_C], self.width_MD[picked_C]
        u_CD, any_CD, lot_CD = generator.random((3, *centre_CD.shape))
        low_CD, high_CD = ndtr(-centre_CD / width_CD), ndtr((1 - centre_CD) / width_CD)
        drawn_CD = centre_CD + width_CD * ndtri(low_CD + u_CD * (high_CD - low_CD))
        kept_CD = np.where(self.is_prior_MD[picked_C] | (lot_CD < self.anything), any_CD, centre_CD)
        return np.where(self.num_options_D > 0, kept_CD, np.clip(drawn_CD, 0, 1))

    def log_density(self, candidates_CD: np.ndarray) -> np.ndarray:
        """Return the log density at C candidates; the density of the uniform distribution is 1."""
        from scipy.special import logsumexp, ndtr

        u_CMD = candidates_CD[:, None, :]
        centre_MD, width_MD = self.centre_MD, self.width_MD
        half_CMD = np.array([self.cube.cell_widths(row) for row in candidates_CD])[:, None, :] / 2
        cut_MD = np.log(ndtr((1 - centre_MD) / width_MD) - ndtr(-centre_MD / width_MD))
        at_CMD = -0.5 * ((u_CMD - centre_MD) / width_MD) ** 2
        at_CMD -= np.log(width_MD * np.sqrt(2 * np.pi))
        above_CMD = ndtr((u_CMD + half_CMD - centre_MD) / width_MD)
        cell_CMD = above_CMD - ndtr((u_CMD - half_CMD - centre_MD) / width_MD)
        in_cell_CMD = np.log(np.maximum(cell_CMD, 1e-300) / np.maximum(2 * half_CMD, 1e-300))
        number_CMD = np.where(half_CMD > 0, in_cell_CMD, at_CMD) - cut_MD
        options_D = np.maximum(self.num_options_D, 1)
        same_CMD = np.floor(u_CMD * options_D) == np.floor(centre_MD * options_D)
        own_CMD = np.where(same_CMD, (1 - self.anything) * options_D, 0.0) + self.anything
        own_CMD = np.where(self.is_prior_MD, 1.0, own_CMD)
        choice_CMD = np.log(np.maximum(own_CMD, 1e-300))
        kernel_CMD = np.where(self.num_options_D > 0, choice_CMD, number_CMD)
        kernel_CMD *= self.cube.find_active(candidates_CD)[:, None]
        total = logsumexp(
            kernel_CMD.sum(axis=2) + np.log(np.maximum(self.weight_M, 1e-300)), axis=1
        )
        return np.asarray(total)


def _neighbour_widths(rows_ND: np.ndarray) -> np.ndarray:
    """Return widths_ND, the distance to the farther neighbour; outermost rows have only one."""
    num_rows = len(rows_ND)
    if num_rows < 2:
        return np.maximum(rows_ND, 1 - rows_ND)
    order_ND = np.argsort(rows_ND, axis=0, kind="stable")
    gap_ND = np.diff(np.take_along_axis(rows_ND, order_ND, axis=0), axis=0)
    farther_ND = np.concatenate([gap_ND[:1], np.maximum(gap_ND[:-1], gap_ND[1:]), gap_ND[-1:]])
    widths_ND = np.empty_like(rows_ND)
    np.put_along_axis(widths_ND, order_ND, farther_ND, axis=0)
    return np.clip(widths_ND, 1 / min(100, num_rows + 2), 1.0)
