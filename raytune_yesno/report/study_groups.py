"""Compare searches by repeated studies with different seeds."""

import itertools
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy import stats

from raytune_yesno import pareto
from raytune_yesno.config import Config
from raytune_yesno.metrics import Metric
from raytune_yesno.study import Study
from raytune_yesno.study.front import list_vectors
from raytune_yesno.text import plural

MIN_REPEATS = 5
"""Studies of a search that an interval or a test needs; fewer say too little."""

MAX_BUDGET_RATIO = 1.25
"""The largest ratio of the numbers of trials or epochs of studies with about equal budgets."""

_MAX_RESAMPLES = 10_000  # assignments of studies to two groups that a test tries
_MAX_LOG = 700.0  # the exponential of more overflows a float


@dataclass(frozen=True)
class Group:
    """Studies that differ only in their seed.

    Attributes:
        label: search and scheduler, and what else tells the groups apart.
        members: indices of the studies.
        bests: the figure of each study that has a result, see :func:`choose_figure`.
        basis: the task, the data, the objectives and the limits. Groups are compared only on the
            same basis.
        num_without: studies that ended and have no figure. The mean of the others alone is too
            good, so the group is in no test and no ranking.
        log: whether the logarithms are averaged and compared. Losses differ by factors, and the
            interval around an arithmetic mean of a few losses could extend below zero.
    """

    label: str
    members: tuple[int, ...]
    bests: tuple[float, ...]
    log: bool = False
    basis: tuple[Any, ...] = ()
    num_without: int = 0

    @property
    def mean(self) -> float | None:
        """The mean of the bests, geometric with ``log``; None without any."""
        return self._unscale(float(np.mean(self.scaled))) if self.bests else None

    @property
    def interval(self) -> tuple[float, float] | None:
        """The 95% interval of the mean by Student's t; None if the group is in no test."""
        count = len(self.bests)
        if count < MIN_REPEATS or self.num_without:
            return None
        half = stats.t.ppf(0.975, count - 1) * np.std(self.scaled, ddof=1) / math.sqrt(count)
        middle = float(np.mean(self.scaled))
        return self._unscale(middle - half), self._unscale(middle + half)

    @property
    def scaled(self) -> np.ndarray:
        """The bests, or with ``log`` their logarithms."""
        return np.log(self.bests) if self.log else np.array(self.bests)

    def _unscale(self, scaled: float) -> float:
        return float(np.exp(min(scaled, _MAX_LOG))) if self.log else scaled


@dataclass(frozen=True)
class Difference:
    """The difference between two groups.

    Attributes:
        first: label of the first group.
        second: label of the second group.
        difference: first mean minus second mean; with ``log``, first mean divided by second mean.
        p: p-value of a two-sided permutation test: the probability of a difference at least as
            large if the studies were assigned to the two groups at random.
        adjusted: p corrected for the number of tested pairs (Holm 1979).
        min_p: the smallest ``adjusted`` that this number of studies and pairs allows.
        log: whether logarithms are compared.
    """

    first: str
    second: str
    difference: float
    p: float
    min_p: float
    adjusted: float = 1.0
    log: bool = False

    def __str__(self) -> str:
        return f"× {self.difference:.4g}" if self.log else f"{self.difference:+.4g}"


def name_mean(groups: Sequence[Group]) -> str:
    """Return the kind of mean that the groups use."""
    return "geometric mean" if any(group.log for group in groups) else "mean"


HYPERVOLUME = Metric("hypervolume", mode="max")


def list_objectives(study: Study) -> tuple[tuple[str, str], ...]:
    """Return the name and the direction of each objective."""
    return tuple((metric.name, metric.mode) for metric in study.objective.objectives)


def have_common_front(studies: Sequence[Study]) -> bool:
    """Return whether all studies have the same objectives, more than one."""
    return len(set(map(list_objectives, studies))) == 1 and bool(studies[0].objective.others)


def choose_figure(studies: Sequence[Study]) -> Metric:
    """Return by what searches are compared: the objective, or the hypervolume of several."""
    return HYPERVOLUME if have_common_front(studies) else studies[0].objective.metric


def share_reference(studies: Sequence[Study]) -> tuple[float, ...]:
    """Return one reference point for studies of the same objectives, so that they compare."""
    return pareto.choose_reference(
        [row for study in studies for row in list_vectors(study.trial_list)]
    )


def measure_figures(studies: Sequence[Study]) -> list[float | None]:
    """Return the value of :func:`choose_figure` for each study; None without a result.

    The figure of a point that was trained several times is its mean. A result that exceeds a limit
    has none. Hypervolumes have one reference point, so they can be compared; that of a search which
    ended without a point that keeps the limits is 0.
    """
    if have_common_front(studies):
        if not (reference := share_reference(studies)):
            return [None] * len(studies)
        vectors = [list_vectors(study.trial_list) for study in studies]
        return [
            pareto.hypervolume(each, reference) if each or study.searched else None
            for study, each in zip(studies, vectors, strict=True)
        ]
    firsts = [next(iter(study.candidates), None) for study in studies]
    return [
        first.value if first and not first.excess and math.isfinite(first.mean) else None
        for first in firsts
    ]


def group_studies(studies: Sequence[Study]) -> list[Group]:
    """Group studies with settings that differ only in the seed, in the given order.

    If all bests are positive, as losses are, their logarithms are compared; hypervolumes are not.
    """
    by_settings: dict[str, list[int]] = {}
    for index, study in enumerate(studies):
        by_settings.setdefault(_settings_key(study), []).append(index)
    labels = _label([studies[members[0]] for members in by_settings.values()])
    figures, groups = measure_figures(studies), []
    for label, members in zip(labels, by_settings.values(), strict=True):
        bests = [figure for index in members if (figure := figures[index]) is not None]
        first = studies[members[0]]
        basis = (
            _name_task(first),
            _read_fingerprint(first),
            list_objectives(first),
            list_limits(first),
        )
        without = sum(figures[index] is None and studies[index].searched for index in members)
        groups.append(Group(label, tuple(members), tuple(bests), basis=basis, num_without=without))
    log = not have_common_front(studies) and all(
        best > 0 for group in groups for best in group.bests
    )
    return [replace(group, log=log) for group in groups]


def compare_groups(groups: Sequence[Group]) -> list[Difference]:
    """Compare the bests of each pair of groups of at least ``MIN_REPEATS`` studies each.

    Groups of other tasks, data, objectives or limits, and groups with studies without a figure,
    are not compared.
    """
    comparable = [group for group in groups if group.interval]
    pairs = itertools.combinations(comparable, 2)
    differences = []
    for first, second in [pair for pair in pairs if pair[0].basis == pair[1].basis]:
        test = stats.permutation_test(
            (first.scaled, second.scaled),
            lambda a, b, axis=-1: np.mean(a, axis=axis) - np.mean(b, axis=axis),
            vectorized=True,
            n_resamples=_MAX_RESAMPLES,
            random_state=0,
        )
        assignments = math.comb(len(first.bests) + len(second.bests), len(first.bests))
        if assignments > _MAX_RESAMPLES:  # a sample of them, and the studies as they are
            assignments = _MAX_RESAMPLES + 1
        log, difference = first.log, float(test.statistic)
        differences.append(
            Difference(
                first.label,
                second.label,
                math.exp(min(difference, _MAX_LOG)) if log else difference,
                float(test.pvalue),
                2 / assignments,
                log=log,
            )
        )
    adjusted: dict[int, float] = {}
    largest = 0.0
    for rank, index in enumerate(sorted(range(len(differences)), key=lambda k: differences[k].p)):
        largest = max(largest, min(1.0, differences[index].p * (len(differences) - rank)))
        adjusted[index] = largest
    return [
        replace(each, adjusted=adjusted[index], min_p=min(1.0, each.min_p * len(differences)))
        for index, each in enumerate(differences)
    ]


def find_best(studies: Sequence[Study]) -> int | None:
    """Return the index of the study with the best trial of all.

    It is None without a result, and if the studies have different objectives, tasks or data.
    """
    if describe_incomparable(studies):
        return None
    scored = [
        (first.excess, first.mean, study.objective.score(first.trial.metrics), index)
        for index, study in enumerate(studies)
        for first in study.candidates[:1]
    ]
    return min(scored)[-1] if scored else None


def describe_incomparable(studies: Sequence[Study]) -> str:
    """Return why the figures of studies cannot be compared; empty if they can."""
    if len(sets := dict.fromkeys(map(list_objectives, studies))) > 1:
        names = "; ".join(" and ".join(f"{name} ({mode})" for name, mode in each) for each in sets)
        return f"The studies have different objectives ({names}), so they are not comparable."
    tasks = dict.fromkeys(name for study in studies if (name := _name_task(study)))
    if len(tasks) > 1:
        return (
            f"The studies are of different tasks ({', '.join(tasks)}), so their figures are not "
            "comparable."
        )
    if (num := len(set(map(_read_fingerprint, studies)))) > 1:
        return (
            f"The studies used {num} different sets of data, so their figures are not comparable."
        )
    return ""


def list_limits(study: Study) -> tuple[str, ...]:
    """Return the limits that the results of a study must keep, sorted."""
    return tuple(sorted(map(str, study.objective.limits)))


def describe_different_limits(studies: Sequence[Study]) -> str:
    """Return that studies have different limits; empty if they have the same."""
    if len(sets := dict.fromkeys(map(list_limits, studies))) < 2:
        return ""
    names = "; ".join(" and ".join(limits) or "none" for limits in sets)
    return (
        f"The studies have different limits ({names}), so searches are not compared: a study "
        "with a looser limit finds better results with any search."
    )


def describe_budgets(studies: Sequence[Study]) -> str:
    """Return how the budgets of studies differ; empty if they are about equal."""
    trials = sorted(len(study.trial_list) for study in studies)
    epochs = sorted(sum(len(trial.epochs) for trial in study.trial_list) for study in studies)
    differing = [
        f"{counts[0]} to {counts[-1]} {unit}"
        for counts, unit in ((trials, "trials"), (epochs, "epochs"))
        if counts[-1] > MAX_BUDGET_RATIO * counts[0]
    ]
    if not differing:
        return ""
    return (
        f"The budgets differ: {' and '.join(differing)} a study. A larger budget finds better "
        "results with any search; compare the curves at equal trials or epochs."
    )


def _name_task(study: Study) -> str:
    """Return a task's name without the file, which may have been moved; empty if it is unknown."""
    name = study.task or (Config.task if study.has_config else "")
    return name.rpartition(":")[2]


def _read_fingerprint(study: Study) -> Any:
    return study.settings.get("corpus", {}).get("fingerprint")


def _settings_key(study: Study) -> str:
    """Return the settings without the seed as text; the path if they are not recorded."""
    if not study.has_config:
        return str(study.path)
    settings = {key: value for key, value in study.settings.items() if key not in _CIRCUMSTANCES}
    settings["config"] = {key: value for key, value in settings["config"].items() if key != "seed"}
    settings["corpus"] = _read_fingerprint(study)
    return json.dumps(settings, sort_keys=True)


# Fields that say where and when a study ran.
_CIRCUMSTANCES = frozenset(
    ("event", "time", "command", "format", "slots", "data", "versions", "max_concurrent")
)


def _label(studies: Sequence[Study]) -> list[str]:
    """Return search and scheduler, with more details if they are needed to tell groups apart."""
    labels = [study.method for study in studies]
    counted = [
        f"{label}, {plural(len(study.trial_list), 'trial')}"
        for label, study in zip(labels, studies, strict=True)
    ]
    named = [f"{label} ({study.name})" for label, study in zip(labels, studies, strict=True)]
    for choice in (labels, counted, named):
        if len(set(choice)) == len(choice):
            return choice
    return [f"{label} #{number}" for number, label in enumerate(named, start=1)]
