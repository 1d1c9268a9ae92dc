"""A Gaussian process over rows of the unit cube, with numbers and choices."""

from collections.abc import Callable, Sequence

import numpy as np

_MIN_NOISE = 1e-6
_ARC = 0.5  # the part of a half circle that a conditional number covers


class GaussianProcess:
    """A Gaussian process with mean 0 and a Matern 5/2 kernel.

    The squared distance of two rows is a sum over dimensions: of the squared difference for a
    number, of 0 or 1 for a choice that is equal or not, each over the square of a length scale of
    its own. Length scales, signal and noise are those of the largest posterior density. Their
    priors are log-normal; the length scales' grows with the square root of the number of
    dimensions, so that distances keep their size (Hvarfner et al., 2024).

    Between two rows in which a dimension is not active, that dimension adds nothing; if it is
    active in one of them, it adds a constant. This is the arc kernel (Swersky et al., 2014; Hutter
    & Osborne, 2013): a number that is not always active lies on an arc, and its value where it is
    not active is the centre of the circle. Options are corners of a simplex around that value.

    Axes: N rows, C candidates, D dimensions.

    Args:
        is_choice_D: which dimensions are choices.
        conditional: the indices of the dimensions that are not always active.
        find_active: returns which coordinates of rows are active.
    """

    def __init__(
        self,
        is_choice_D: np.ndarray,
        conditional: Sequence[int] = (),
        find_active: Callable[[np.ndarray], np.ndarray] = np.ones_like,
    ) -> None:
        num_dims = len(is_choice_D)
        self.is_choice_D = is_choice_D
        self.conditional, self.find_active = conditional, find_active
        scale_D = np.full(num_dims, np.log(0.5) + 0.5 * np.log(num_dims))
        self.prior_mean = np.concatenate([scale_D, [0.0, np.log(1e-2)]])
        self.prior_std = np.concatenate([np.full(num_dims, 1.0), [1.0, 2.0]])
        self.theta = self.prior_mean
        """Logarithms of D length scales, of the signal's variance and of the noise's."""

    @property
    def noise(self) -> float:
        """The variance of the noise; that of the standardised values is 1."""
        return float(np.exp(self.theta[-1]))

    def fit(self, rows_ND: np.ndarray, y_N: np.ndarray) -> None:
        """Fit the parameters, from the present ones on, to rows and their standardised values."""
        from scipy.optimize import minimize

        square_DM = self._squares(rows_ND, rows_ND).reshape(len(self.is_choice_D), -1)
        low, high = self.prior_mean - 3 * self.prior_std, self.prior_mean + 3 * self.prior_std
        low[-1] = np.log(_MIN_NOISE)
        found = minimize(
            self._objective,
            np.clip(self.theta, low, high),
            (square_DM, y_N),
            jac=True,
            method="L-BFGS-B",
            bounds=list(zip(low, high, strict=True)),
            options={"maxiter": 30},
        )
        if np.all(np.isfinite(found.x)):
            self.theta = found.x

    def condition(self, rows_ND: np.ndarray, y_N: np.ndarray) -> None:
        """Set the results that predictions are made from."""
        from scipy.linalg import cho_solve, cholesky

        kernel_NN = self._kernel(self._squares(rows_ND, rows_ND))
        kernel_NN[np.diag_indices_from(kernel_NN)] += self.noise + 1e-8
        self.rows_ND = rows_ND
        self.root_NN = cholesky(kernel_NN, lower=True)
        self.alpha_N = cho_solve((self.root_NN, True), y_N)

    def predict_mean(self, u_CD: np.ndarray) -> np.ndarray:
        """Return the mean at C candidates."""
        return np.asarray(self._kernel(self._squares(u_CD, self.rows_ND)) @ self.alpha_N)

    def predict_left_out(self, y_N: np.ndarray) -> np.ndarray:
        """Return the mean at each row, predicted from the others (Rasmussen & Williams, 5.12)."""
        from scipy.linalg import cho_solve

        inverse_NN = cho_solve((self.root_NN, True), np.eye(len(y_N)))
        return np.asarray(y_N - self.alpha_N / np.diag(inverse_NN))

    def predict(self, u_CD: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the mean and the standard deviation, without noise, at C candidates."""
        from scipy.linalg import solve_triangular

        kernel_CN = self._kernel(self._squares(u_CD, self.rows_ND))
        root_NC = solve_triangular(self.root_NN, kernel_CN.T, lower=True, check_finite=False)
        variance_C = np.exp(self.theta[-2]) - np.einsum("nc,nc->c", root_NC, root_NC)
        return kernel_CN @ self.alpha_N, np.sqrt(np.maximum(variance_C, 1e-12))

    def _squares(self, a_MD: np.ndarray, b_ND: np.ndarray) -> np.ndarray:
        """Return the squared distance of each pair in each dimension, as [D, M, N]."""
        apart_DMN = a_MD.T[:, :, None] - b_ND.T[:, None, :]
        apart_DMN[self.is_choice_D] = np.abs(apart_DMN[self.is_choice_D]) > 1e-9
        square_DMN = np.square(apart_DMN)
        if self.conditional:
            a_MD, b_ND = self.find_active(a_MD), self.find_active(b_ND)
        for dim in self.conditional:
            both_MN = a_MD[:, None, dim] & b_ND[None, :, dim]
            one_MN = a_MD[:, None, dim] ^ b_ND[None, :, dim]
            square_MN, radius = square_DMN[dim], np.sqrt(0.5)
            if not self.is_choice_D[dim]:
                radius = 1 / (_ARC * np.pi)
                square_MN = np.square(2 * radius * np.sin(_ARC * np.pi / 2 * apart_DMN[dim]))
            square_DMN[dim] = np.where(both_MN, square_MN, radius**2 * one_MN)
        return square_DMN

    def _kernel(self, square_DMN: np.ndarray) -> np.ndarray:
        weight_D = np.exp(-2 * self.theta[:-2])
        r_MN = np.sqrt(5 * np.tensordot(weight_D, square_DMN, 1))
        return np.asarray(np.exp(self.theta[-2] - r_MN) * (1 + r_MN + r_MN**2 / 3))

    def _objective(
        self, theta: np.ndarray, square_DM: np.ndarray, y_N: np.ndarray
    ) -> tuple[float, np.ndarray]:
        """Return the negative log posterior of the parameters, and its gradient."""
        from scipy.linalg import LinAlgError, cholesky
        from scipy.linalg.lapack import dpotri

        num = len(y_N)
        weight_D, signal, noise = np.exp(-2 * theta[:-2]), np.exp(theta[-2]), np.exp(theta[-1])
        r_M = np.sqrt(5 * (weight_D @ square_DM))
        decay_M = signal * np.exp(-r_M)
        kernel_NN = (decay_M * (1 + r_M + r_M**2 / 3)).reshape(num, num)
        away = (theta - self.prior_mean) / self.prior_std
        try:
            root_NN = cholesky(kernel_NN + (noise + 1e-8) * np.eye(num), lower=True)
        except LinAlgError:
            return 1e10, np.zeros_like(theta)
        inverse_NN, _ = dpotri(root_NN, lower=True)
        inverse_NN = np.tril(inverse_NN) + np.tril(inverse_NN, -1).T
        alpha_N = inverse_NN @ y_N
        value = 0.5 * y_N @ alpha_N + np.log(np.diag(root_NN)).sum() + 0.5 * away @ away
        change_NN = inverse_NN - np.outer(alpha_N, alpha_N)
        by_square_M = change_NN.ravel() * (-5 / 6 * decay_M * (1 + r_M))
        gradient = np.concatenate(
            [
                -weight_D * (square_DM @ by_square_M),
                [0.5 * np.vdot(change_NN, kernel_NN), 0.5 * noise * np.trace(change_NN)],
            ]
        )
        return float(value), gradient + away / self.prior_std
