"""The scale of a numeric domain: linear or logarithmic, uniform or with a prior."""

import math
from dataclasses import dataclass

_UNIFORM_SHARE = 0.1
_MIN_MASS = 1e-12
_MAX_STEPS = 60


@dataclass(frozen=True)
class Prior:
    """A belief about good values: a normal distribution, truncated to the domain.

    A tenth of the mass is spread evenly over the domain, so that a wrong belief slows a search but
    hides nothing (as in Hvarfner et al., 2022, where a prior's influence also ends).

    Attributes:
        mean: the middle of the good region, on the scale (a logarithm on a logarithmic one).
        sigma: the standard deviation on the scale.
    """

    mean: float
    sigma: float

    def mass(self, low: float, high: float, x: float) -> float:
        """Return the share of the mass between ``low`` and ``x``, on the scale."""
        below, whole = self._normal(low), self._normal(high) - self._normal(low)
        even = (x - low) / (high - low)
        if whole < _MIN_MASS:  # the domain lies far out in a tail
            return even
        share = (self._normal(x) - below) / whole
        return (1 - _UNIFORM_SHARE) * share + _UNIFORM_SHARE * even

    def quantile(self, low: float, high: float, u: float) -> float:
        """Return the inverse of :meth:`mass`, by Newton's method within a bracket."""
        below, whole = self._normal(low), self._normal(high) - self._normal(low)
        if whole < _MIN_MASS:
            return low + u * (high - low)
        even, share = _UNIFORM_SHARE / (high - low), (1 - _UNIFORM_SHARE) / whole
        bottom, top, x = low, high, min(max(self.mean, low), high)
        for _ in range(_MAX_STEPS):
            error = share * (self._normal(x) - below) + even * (x - low) - u
            bottom, top = (x, top) if error < 0 else (bottom, x)
            z = (x - self.mean) / self.sigma
            slope = even + share * math.exp(-0.5 * z * z) / (self.sigma * math.sqrt(2 * math.pi))
            moved = x - error / slope
            if not bottom <= moved <= top:
                moved = (bottom + top) / 2
            if abs(moved - x) <= 1e-15 * (high - low):
                break
            x = moved
        return x

    def _normal(self, x: float) -> float:
        return 0.5 * (1 + math.erf((x - self.mean) / (self.sigma * math.sqrt(2))))


@dataclass(frozen=True)
class Scale:
    """A monotone map from ``low`` to ``high`` onto [0, 1].

    Attributes:
        low: the value at 0.
        high: the value at 1.
        log: whether the map is logarithmic.
        prior: the distribution that the map makes uniform; None for the uniform one.
    """

    low: float
    high: float
    log: bool = False
    prior: Prior | None = None

    def value(self, u: float) -> float:
        """Return the value at ``u`` in [0, 1]."""
        low, high = self._put(self.low), self._put(self.high)
        x = self.prior.quantile(low, high, u) if self.prior else low + u * (high - low)
        return math.exp(x) if self.log else x

    def position(self, *values: float) -> float:
        """Return the position of a value in [0, 1], or of the middle of several on the scale."""
        low, high = self._put(self.low), self._put(self.high)
        if self.prior:
            return sum(self.prior.mass(low, high, self._put(value)) for value in values) / len(
                values
            )
        x = sum(map(self._put, values)) / len(values)
        return (x - low) / (high - low) if low < high else 0.5

    def _put(self, value: float) -> float:
        return math.log(value) if self.log else value
