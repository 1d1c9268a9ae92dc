"""Compare searches by studies of them: repeated ones, with other seeds, tell luck from skill."""

import itertools
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import stats

from raytune_yesno.study import Study

_GREATEST_LOG = 700.0  # beyond it, the exponential is no float


@dataclass(frozen=True)
class Group:
    """Studies that differ in their seed alone.

    Attributes:
        label: what they were asked for.
        members: their places among the studies given.
        bests: the best metric of each that has one.
        log: whether their logarithms are averaged. A loss differs by factors, and of a few the
            interval around the plain mean would reach below zero.
        mean: of the bests, the geometric one with ``log``; None without any.
        interval: 95 %, by Student's t; None of fewer than two.
    """

    label: str
    members: tuple[int, ...]
    bests: tuple[float, ...]
    log: bool = False

    @property
    def mean(self) -> float | None:
        return self._read(float(np.mean(self.scaled))) if self.bests else None

    @property
    def interval(self) -> tuple[float, float] | None:
        count = len(self.bests)
        if count < 2:
            return None
        half = stats.t.ppf(0.975, count - 1) * np.std(self.scaled, ddof=1) / math.sqrt(count)
        middle = float(np.mean(self.scaled))
        return self._read(middle - half), self._read(middle + half)

    @property
    def scaled(self) -> np.ndarray:
        """Return the bests, or with ``log`` their logarithms."""
        return np.log(self.bests) if self.log else np.array(self.bests)

    def _read(self, scaled: float) -> float:
        return float(np.exp(min(scaled, _GREATEST_LOG))) if self.log else scaled


@dataclass(frozen=True)
class Difference:
    """How two groups differ.

    Attributes:
        first, second: their labels.
        difference: of their means, the first less the second; with ``log``, the first by the
            second.
        p: two-sided, of a permutation test: how often the same studies, dealt out to the two by
            chance, would differ as much.
        least_p: the least that p could be with so few studies.
        adjusted: p, made greater for the number of pairs that were tested (Holm 1979).
    """

    first: str
    second: str
    difference: float
    p: float
    least_p: float
    adjusted: float = 1.0
    log: bool = False

    def __str__(self) -> str:
        return f"× {self.difference:.4g}" if self.log else f"{self.difference:+.4g}"


def name_mean(groups: Sequence[Group]) -> str:
    """Return which mean the groups have."""
    return "geometric mean" if any(group.log for group in groups) else "mean"


def group_studies(studies: Sequence[Study]) -> list[Group]:
    """Group studies that were asked for the same but for the seed, in the order given.

    Where all bests are positive, as losses are, their logarithms are compared.
    """
    asked: dict[str, list[int]] = {}
    for index, study in enumerate(studies):
        asked.setdefault(_question(study), []).append(index)
    labels = _label([studies[members[0]] for members in asked.values()])
    groups = []
    for label, members in zip(labels, asked.values(), strict=True):
        bests = [
            float(epoch[studies[index].metric])
            for index in members
            if (best := studies[index].best) and (epoch := best.best_epoch)
        ]
        groups.append(Group(label, tuple(members), tuple(bests)))
    log = all(best > 0 for group in groups for best in group.bests)
    return [replace(group, log=log) for group in groups]


def compare_groups(groups: Sequence[Group]) -> list[Difference]:
    """Compare the bests of every two groups of at least two studies each."""
    able = [group for group in groups if len(group.bests) > 1]
    differences = []
    for first, second in itertools.combinations(able, 2):
        test = stats.permutation_test(
            (first.scaled, second.scaled),
            lambda a, b, axis=-1: np.mean(a, axis=axis) - np.mean(b, axis=axis),
            vectorized=True,
            n_resamples=10_000,
            random_state=0,
        )
        deals = math.comb(len(first.bests) + len(second.bests), len(first.bests))
        log, apart = first.log, float(test.statistic)
        differences.append(
            Difference(
                first.label,
                second.label,
                math.exp(apart) if log else apart,
                float(test.pvalue),
                2 / deals,
                log=log,
            )
        )
    adjusted: dict[int, float] = {}
    greatest = 0.0
    for place, index in enumerate(sorted(range(len(differences)), key=lambda k: differences[k].p)):
        greatest = max(greatest, min(1.0, differences[index].p * (len(differences) - place)))
        adjusted[index] = greatest
    return [replace(each, adjusted=adjusted[index]) for index, each in enumerate(differences)]


def count_corpora(studies: Sequence[Study]) -> int:
    """Return how many corpora the studies were judged on: figures of several do not compare."""
    return len({study.asked.get("corpus", {}).get("fingerprint") for study in studies})


def _question(study: Study) -> str:
    """Return what was asked, but for the seed; a study that does not say is its own."""
    if "config" not in study.asked:
        return str(study.path)
    asked = {key: value for key, value in study.asked.items() if key not in _NOT_ASKED}
    asked["config"] = {key: value for key, value in asked["config"].items() if key != "seed"}
    asked["corpus"] = asked.get("corpus", {}).get("fingerprint")
    return json.dumps(asked, sort_keys=True)


# Where and when, not what.
_NOT_ASKED = frozenset(("event", "time", "format", "slots", "data", "versions", "max_concurrent"))


def _label(studies: Sequence[Study]) -> list[str]:
    """Return search and scheduler, and what else it takes to tell them apart."""
    labels = [
        " + ".join(filter(None, (study.asked.get("search"), study.asked.get("scheduler"))))
        for study in studies
    ]
    counted = [
        f"{label}, {len(study.trial_list)} trials"
        for label, study in zip(labels, studies, strict=True)
    ]
    named = [f"{label} ({study.name})" for label, study in zip(labels, studies, strict=True)]
    for choice in (labels, counted, named):
        if len(set(choice)) == len(choice):
            return choice
    return [f"{label} #{number}" for number, label in enumerate(named, start=1)]
