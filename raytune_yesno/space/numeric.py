"""The numeric domains of a search space: floats and integers."""

import math
import sys
from dataclasses import dataclass, fields
from decimal import Decimal
from functools import cached_property
from typing import TypeGuard

from raytune_yesno.errors import InputError, suggest_name
from raytune_yesno.numerals import MAX_WHOLE
from raytune_yesno.space.scale import Prior, Scale

PRIORS = ("normal", "lognormal")


class _Number:
    """What :class:`Float` and :class:`Int` share: the range, the step, the scale and the prior."""

    low: float
    high: float
    log: bool
    step: float | None
    prior: str
    mean: float | None
    sigma: float | None

    def __repr__(self) -> str:
        """Return the call that makes the domain, without defaults."""
        parts = [f"low={self.low!r}", f"high={self.high!r}", f"log={self.log!r}"]
        parts += [f"{key}={value!r}" for key, value in self.extras.items()]
        return f"{type(self).__name__}({', '.join(parts)})"

    @property
    def extras(self) -> dict[str, float | str]:
        """The attributes beyond range and ``log`` that are not at their defaults."""
        extras = {}
        for field in fields(self):  # type: ignore[arg-type]
            value = getattr(self, field.name)
            if field.name not in ("low", "high", "log") and value != field.default:
                extras[field.name] = value
        return extras

    @cached_property
    def num_values(self) -> float:
        """The number of values; infinity for a float without a step."""
        if self.low == self.high:
            return 1
        if self.step is None:
            return math.inf
        if isinstance(self.step, int):
            return int(self.high - self.low) // self.step + 1
        return math.floor((self.high - self.low) / self.step * (1 + 1e-12) + 1e-9) + 1

    @cached_property
    def scale(self) -> Scale:
        """The map to [0, 1]; with a step, it begins and ends half a step outside."""
        low, high = self.low, self.high
        if low == high:  # a prior has no spread there, and half a step may be below 0
            return Scale(low, high)
        if self.step is not None:
            half = self.step / 2
            low, high = low - half, self._place(int(self.num_values) - 1) + half
        log = self.log or self.prior == "lognormal"
        prior = None
        if self.prior:
            ends = (math.log(low), math.log(high)) if log else (low, high)
            mean = sum(ends) / 2 if self.mean is None else self.mean
            middle = math.log(mean) if log and self.mean is not None else mean
            sigma = (ends[1] - ends[0]) / 4 if self.sigma is None else self.sigma
            prior = Prior(middle, sigma)
        return Scale(low, high, log, prior)

    def cell_width(self, value: float) -> float:
        """Return the width of a value's cell; 0 for a float without a step."""
        if self.step is None:
            return 0.0
        if not self.scale.log and not self.scale.prior:
            return 1 / self.num_values
        half = self.step / 2
        return self.scale.position(value + half) - self.scale.position(value - half)

    def _place(self, index: int) -> float:
        """Return the value at an index of a stepped domain."""
        assert self.step is not None
        if isinstance(self.step, int):
            return self.low + index * self.step
        # Through decimals, so that 0 + 3 * 0.1 is 0.3; the last one may be off by a rounding error.
        value = float(Decimal(repr(self.low)) + index * Decimal(repr(self.step)))
        return min(value, self.high)

    def _index(self, value: float) -> int:
        assert self.step is not None
        index = round((value - self.low) / self.step)
        return min(max(index, 0), int(self.num_values) - 1)

    def _decode_cell(self, u: float) -> float:
        u, num = min(max(u, 0.0), 1.0), int(self.num_values)
        if not self.scale.log and not self.scale.prior:
            return self._place(min(math.floor(u * num), num - 1))
        return self._place(self._index(self.scale.value(u)))

    def _encode_cell(self, value: float) -> float:
        assert self.step is not None
        if not self.scale.log and not self.scale.prior:
            return (self._index(value) + 0.5) / self.num_values
        half = self.step / 2
        return self.scale.position(value - half, value + half)

    def _grid_cells(self, levels: int) -> list[float]:
        num = int(self.num_values)
        if num <= levels:
            return [self._place(index) for index in range(num)]
        ends = Float(self.low, self._place(num - 1), log=self.scale.log)
        return [self._place(index) for index in sorted({self._index(v) for v in ends.grid(levels)})]

    def _check(self) -> None:
        _check_range(self)
        if self.step is not None and not (
            is_number(self.step) and math.isfinite(self.step) and self.step > 0
        ):
            raise InputError(f"{self}: step is not a number above 0")
        if self.step is not None and self.low < self.high:
            if self.step > (self.high - self.low) * (1 + 1e-9):  # 0.3 - 0.1 is below 0.2
                raise InputError(f"{self}: step is wider than the range")
            if (self.high - self.low) / self.step > MAX_WHOLE:
                raise InputError(f"{self}: step is too small for the range")
            if (self.log or self.prior == "lognormal") and self.low <= self.step / 2:
                raise InputError(
                    f"{self}: a log scale with a step needs low above half of it; "
                    "write a choice of values"
                )
        if self.prior not in ("", *PRIORS):
            raise InputError(f"{self}: unknown prior; {suggest_name(str(self.prior), PRIORS)}")
        if not self.prior and (self.mean is not None or self.sigma is not None):
            raise InputError(f"{self}: mean and sigma need prior: normal or lognormal")
        if self.prior == "normal" and self.log:
            raise InputError(f"{self}: with log, write prior: lognormal")
        for value in (self.mean, self.sigma):
            if value is not None and not (is_number(value) and math.isfinite(value)):
                raise InputError(f"{self}: mean and sigma are finite numbers")
        if self.sigma is not None and self.sigma <= 0:
            raise InputError(f"{self}: sigma must be above 0")
        if self.mean is not None and not self.low <= self.mean <= self.high:
            raise InputError(f"{self}: mean lies outside the range")


@dataclass(frozen=True, repr=False)
class Float(_Number):
    """The real numbers from ``low`` to ``high``, both included.

    Example:
        >>> from raytune_yesno.space import Float
        >>> learning_rate = Float(1e-4, 1e-2, log=True)
        >>> round(learning_rate.decode(0.5), 6)
        0.001
        >>> Float(0, 0.5, step=0.1).grid(9)
        [0.0, 0.1, 0.2, 0.3, 0.4, 0.5]
        >>> around = Float(1e-5, 1.0, prior="lognormal", mean=3e-3, sigma=1.0)
        >>> 1e-3 < around.decode(0.3) < 3e-3 < around.decode(0.6) < 9e-3
        True

    Attributes:
        low: the smallest value.
        high: the largest value.
        log: whether values are uniform on a logarithmic scale; ``low`` must then be above 0.
        step: the distance of two values, which are ``low``, ``low + step``, …; None for all
            values in between.
        prior: ``normal`` or ``lognormal`` if good values are expected around ``mean``; nine tenths
            of random draws follow it, one tenth is uniform. All searches work on that scale.
        mean: the middle of the good region, a value of the domain. Defaults to the middle of the
            range, for ``lognormal`` on the logarithmic scale.
        sigma: standard deviation of the prior; for ``lognormal`` that of the natural logarithm, so
            that 0.7 is a factor of 2. Defaults to a quarter of the range on its scale.
    """

    low: float
    high: float
    log: bool = False
    step: float | None = None
    prior: str = ""
    mean: float | None = None
    sigma: float | None = None

    def __post_init__(self) -> None:
        self._check()
        object.__setattr__(self, "low", float(self.low))
        object.__setattr__(self, "high", float(self.high))
        if self.step is not None:
            object.__setattr__(self, "step", float(self.step))

    def decode(self, u: float) -> float:
        """Return the value at ``u`` in [0, 1]; without a step exactly ``low`` and ``high``."""
        if self.step is not None:
            return self._decode_cell(u)
        if u <= 0:
            return self.low
        if u >= 1:
            return self.high
        return min(max(self.scale.value(u), self.low), self.high)

    def encode(self, value: float) -> float:
        """Return the position of a value in [0, 1]; 0.5 if the domain has one value."""
        if self.step is not None:
            return self._encode_cell(value)
        return self.scale.position(value) if self.low < self.high else 0.5

    def contains(self, value: object) -> bool:
        """Return whether ``value`` is a number from ``low`` to ``high``, on a step if any."""
        if not is_number(value) or not self.low <= value <= self.high:
            return False
        return self.step is None or abs(value - self._place(self._index(value))) < 1e-6 * self.step

    def grid(self, levels: int) -> list[float]:
        """Return ``levels`` equally spaced values, ends included; the middle if ``levels`` is 1."""
        check_levels(levels)
        if self.step is not None:
            return self._grid_cells(levels)
        if self.low == self.high:
            return [self.low]
        if levels == 1:
            return [self.decode(0.5)]
        return [self.decode(level / (levels - 1)) for level in range(levels)]


@dataclass(frozen=True, repr=False)
class Int(_Number):
    """The integers from ``low`` to ``high``, both included.

    Each integer has a cell of [0, 1]. On a linear scale all cells have the same width. On a
    logarithmic scale the cell of k reaches from log(k - 1/2) to log(k + 1/2).

    Example:
        >>> from raytune_yesno.space import Int
        >>> layers = Int(1, 4)
        >>> [layers.decode(u) for u in (0.1, 0.3, 0.6, 0.9)]
        [1, 2, 3, 4]
        >>> Int(16, 64, step=16).grid(9)
        [16, 32, 48, 64]

    Attributes:
        low: the smallest value, at least -2**53.
        high: the largest value, at most 2**53.
        log: whether values are uniform on a logarithmic scale; ``low`` must then be above 0.
        step: the distance of two values, which are ``low``, ``low + step``, ….
        prior: see :class:`Float`.
        mean: see :class:`Float`.
        sigma: see :class:`Float`.
    """

    low: int
    high: int
    log: bool = False
    step: int = 1
    prior: str = ""
    mean: float | None = None
    sigma: float | None = None

    def __post_init__(self) -> None:
        if type(self.step) is not int:
            raise InputError(f"{self}: step is not an integer")
        self._check()

    def decode(self, u: float) -> int:
        """Return the integer whose cell contains ``u`` in [0, 1]."""
        return int(self._decode_cell(u))

    def encode(self, value: float) -> float:
        """Return the middle of the integer's cell."""
        return self._encode_cell(value)

    def contains(self, value: object) -> bool:
        """Return whether ``value`` is an integer from ``low`` to ``high``, on a step."""
        if type(value) is not int or not self.low <= value <= self.high:
            return False
        return (value - self.low) % self.step == 0

    def grid(self, levels: int) -> list[int]:
        """Return all integers if there are at most ``levels``, else ``levels`` of them.

        The ends are included. On a logarithmic scale there may be fewer, because duplicates after
        rounding are removed.
        """
        check_levels(levels)
        return [int(value) for value in self._grid_cells(levels)]


def is_number(value: object) -> TypeGuard[float]:
    """Return whether a value is an integer or a float, not a truth value."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def check_levels(levels: int) -> None:
    """Check a number of levels of a grid.

    Raises:
        InputError: it is not a whole number of at least 1.
    """
    if type(levels) is not int or levels < 1:
        raise InputError(f"levels: {levels!r} is not a whole number of at least 1")


def _check_range(domain: _Number) -> None:
    for bound in (domain.low, domain.high):
        where = f"{domain!s:.99}: {bound!r:.50}"
        if isinstance(domain, Int):
            if type(bound) is not int or abs(bound) > MAX_WHOLE:
                raise InputError(f"{where} is not an integer of at most 2**53")
        # An integer may exceed all floats.
        elif not is_number(bound) or not abs(bound) <= sys.float_info.max:
            raise InputError(f"{where} is not a finite number")
    if domain.low > domain.high:
        raise InputError(f"{domain}: low is above high")
    if not math.isfinite(float(domain.high) - float(domain.low)):
        raise InputError(f"{domain}: the range is too wide for a float")
    if (domain.log or domain.prior == "lognormal") and domain.low <= 0:
        raise InputError(f"{domain}: a log scale needs low above 0")
