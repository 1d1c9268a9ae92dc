"""The hyperparameters as axes of plots: the kind of scale and its range."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from raytune_yesno.study import Study
from raytune_yesno.study.events import is_number
from raytune_yesno.text import format_value

_MIN_LOG_RATIO = 50  # of the largest to the smallest value, for a logarithmic scale


_MISSING = object()


@dataclass
class Axis:
    """The scale of a hyperparameter.

    Attributes:
        name: the config key.
        kind: ``log``, ``linear`` or ``choice``.
        low: the lower end of a numeric scale.
        high: the upper end of a numeric scale.
        whole: whether the values are integers.
        options: the values of a choice as text, in the order of the axis.
    """

    name: str
    kind: str
    low: float = 0.0
    high: float = 1.0
    whole: bool = False
    options: list[str] = field(default_factory=list)

    def read(self, point: Mapping[str, Any]) -> float | int | None:
        """Return the value in a point as a number: itself, or the index of a choice.

        An unknown choice is added to the options.

        Returns:
            None if the point has no value: the parameter is not active, or the value is no number.
        """
        value = point.get(self.name, _MISSING)
        if value is _MISSING:
            return None
        if self.kind != "choice":
            return value if is_number(value) else None
        text = _spell(value)
        if text not in self.options:
            self.options.append(text)
        return self.options.index(text)


def build_axes(study: Study) -> list[Axis]:
    """Return an axis for each hyperparameter with more than one value.

    The search space defines the scale; without one, it is guessed from the values.
    """
    names = dict.fromkeys(key for trial in study.trial_list for key in trial.best_point)
    axes = []
    for name in names:
        values = [trial.best_point[name] for trial in study.trial_list if name in trial.best_point]
        domains = [each for key, each in list_domains(study.settings.get("space")) if key == name]
        axis = _merge(name, [read_domain(name, each) for each in domains]) or _guess(name, values)
        if axis.kind == "choice":
            for trial in study.trial_list:
                axis.read(trial.best_point)
        if len({value if is_number(value) else _spell(value) for value in values}) > 1:
            axes.append(axis)
    return axes


def read_domain(name: str, domain: Any) -> Axis | None:
    """Return the axis of a search space's domain as it is recorded; None if it is not valid."""
    if not isinstance(domain, Mapping):
        return None
    kind = "log" if domain.get("log") or domain.get("prior") == "lognormal" else "linear"
    for key in ("float", "int"):
        if isinstance(domain.get(key), list) and len(domain[key]) == 2:
            low, high = domain[key]
            return Axis(name, kind, low, high, whole=key == "int")
    if isinstance(domain.get("choice"), list | Mapping):
        return Axis(name, "choice", options=[_spell(value) for value in domain["choice"]])
    return None


def list_domains(space: Any) -> Iterator[tuple[str, Any]]:
    """Yield each name of a recorded search space with its domain, those of options included."""
    for name, domain in space.items() if isinstance(space, Mapping) else ():
        yield name, domain
        if isinstance(domain, Mapping):
            options, branches = domain.get("choice"), domain.get("with")
            if isinstance(options, Mapping):
                branches = list(options.values())
            for branch in branches if isinstance(branches, list) else ():
                yield from list_domains(branch)


def _merge(name: str, axes: Sequence[Axis | None]) -> Axis | None:
    """Return one axis for the parameters of one name that several options have."""
    known = [axis for axis in axes if axis is not None]
    if len(known) < 2 or any(axis.kind == "choice" for axis in known):
        return known[0] if len(known) == 1 else None
    low, high = min(axis.low for axis in known), max(axis.high for axis in known)
    is_log = low > 0 and any(axis.kind == "log" for axis in known)
    whole = all(axis.whole for axis in known)
    return Axis(name, "log" if is_log else "linear", low, high, whole)


def _guess(name: str, values: Sequence[Any]) -> Axis:
    numbers = [value for value in values if is_number(value)]
    if len(numbers) < len(values) or not numbers:
        return Axis(name, "choice")
    low, high = min(numbers), max(numbers)
    whole = all(isinstance(value, int) for value in numbers)
    kind = "log" if low > 0 and high / low >= _MIN_LOG_RATIO else "linear"
    return Axis(name, kind, low, high, whole=whole)


def _spell(value: Any) -> str:
    """Return the text of an option: in short, but such that different numbers stay apart."""
    text = format_value(value)
    return repr(value) if isinstance(value, float) and float(text) != value else text
