"""Ranks and regrets of searches on published benchmarks."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import friedmanchisquare, rankdata, studentized_range, wilcoxon

from bench.search.results import Records, write_table
from bench.search.suites import IN_FLIGHT, NUM_EVALUATIONS, SUITES, list_problems

PEER = "optuna-tpe"
_TIED = 1e-9


@dataclass(frozen=True)
class Comparison:
    """Searches on the same problems, seeds and numbers of trials in flight.

    Axes: B blocks, each a problem with a seed and a number in flight; S searches.

    Attributes:
        names: the searches.
        regrets_BS: the regret of each after its evaluations, a share of the problem's unit.
        seconds_S: CPU seconds of a suggestion.
    """

    names: tuple[str, ...]
    regrets_BS: np.ndarray
    seconds_S: np.ndarray

    @property
    def ranks(self) -> np.ndarray:
        """Ranks within each block, as [B, S]; the best search has 1."""
        return np.array([rankdata(np.round(row, 12)) for row in self.regrets_BS])

    def rows(self) -> list[list[object]]:
        """Return a row of the table for each search, the best mean rank first."""
        means = self.ranks.mean(axis=0)
        low, high = np.quantile(resample(self.ranks), [0.025, 0.975], axis=0)
        share = self._shares()
        rows: list[list[object]] = []
        for index in np.argsort(means, kind="stable"):
            rank = f"{means[index]:.2f} ({low[index]:.2f}–{high[index]:.2f})"
            cost = f"{1000 * self.seconds_S[index]:.3g}"
            rows.append([self.names[index], rank, share[index], self._duel(index), cost])
        return rows

    def differences(self) -> str:
        """Return a sentence with Friedman's test and Nemenyi's critical difference."""
        num_blocks, num = self.regrets_BS.shape
        if num < 3 or num_blocks < 3:
            return ""
        p = friedmanchisquare(*self.ranks.T).pvalue
        critical = studentized_range.ppf(0.95, num, np.inf) / math.sqrt(2)
        critical *= math.sqrt(num * (num + 1) / (6 * num_blocks))
        return (
            f"{num_blocks} blocks; Friedman p = {p:.2g}; mean ranks that differ by "
            f"{critical:.2f} or more differ at 5 % (Nemenyi)."
        )

    def _shares(self) -> list[str]:
        """Return the geometric mean of each search's regret over random's."""
        if "random" not in self.names:
            return ["–"] * len(self.names)
        floor = 1e-3 * np.median(self.regrets_BS[:, self.names.index("random")])
        logs_BS = np.log(self.regrets_BS + max(floor, 1e-12))
        logs_BS = logs_BS - logs_BS[:, [self.names.index("random")]]
        low, high = np.exp(np.quantile(resample(logs_BS), [0.025, 0.975], axis=0))
        means = np.exp(logs_BS.mean(axis=0))
        return [f"{m:.2g} ({a:.2g}–{b:.2g})" for m, a, b in zip(means, low, high, strict=True)]

    def _duel(self, index: int) -> str:
        """Return wins, ties and losses against the peer, and Wilcoxon's p."""
        if PEER not in self.names or self.names[index] == PEER:
            return "–"
        apart = self.regrets_BS[:, index] - self.regrets_BS[:, self.names.index(PEER)]
        wins, losses = int((apart < -_TIED).sum()), int((apart > _TIED).sum())
        ranks = self.ranks[:, index] - self.ranks[:, self.names.index(PEER)]
        p = wilcoxon(ranks).pvalue if ranks.any() else 1.0
        return f"{wins}/{len(apart) - wins - losses}/{losses}, p {p:.2g}"


def resample(values_BS: np.ndarray) -> np.ndarray:
    """Return the means of 2,000 resamples of the blocks."""
    generator = np.random.default_rng(0)
    chosen = generator.integers(len(values_BS), size=(2000, len(values_BS)))
    return np.asarray(values_BS[chosen].mean(axis=1))


def compare(
    records: Records, problems: Sequence[str], slots: Sequence[int] = IN_FLIGHT
) -> Comparison | None:
    """Return the comparison over the blocks that every search was run on; None without any."""
    blocks: dict[tuple[str, int, int], dict[str, Mapping[str, Any]]] = {}
    for run, record in records.items():
        if run.part == "suites" and run.problem in problems and run.slots in slots:
            blocks.setdefault((run.problem, run.seed, run.slots), {})[run.search] = record
    most = max((len(block) for block in blocks.values()), default=0)
    names = tuple(next((sorted(b) for b in blocks.values() if len(b) == most), ()))
    full = [block for block in blocks.values() if all(name in block for name in names)]
    if not full:
        return None
    regrets = [[block[name]["regrets"][-1] for name in names] for block in full]
    spent = [[block[name]["cpu"] / NUM_EVALUATIONS for name in names] for block in full]
    return Comparison(names, np.array(regrets), np.mean(spent, axis=0))


HEADS = [
    "search",
    "mean rank",
    "regret, random's = 1",
    f"against {PEER}: wins/ties/losses",
    "CPU ms a suggestion",
]


def tell_suites(records: Records) -> list[str]:
    """Return the section on published benchmarks."""
    lines = [
        f"Regret after {NUM_EVALUATIONS} evaluations, {', '.join(map(str, IN_FLIGHT))} in flight. "
        "A search sees one seed of a table and is scored by the mean of its seeds. Intervals: 95 % "
        "by bootstrap over blocks, each a problem with a seed and a number in flight.",
    ]
    for held_out in (True, False):
        title = "Held-out problems" if held_out else "Problems used in development"
        for name, suites in (("all suites", SUITES), *((suite, (suite,)) for suite in SUITES)):
            problems = [p for s in suites for p in list_problems(s, held_out=held_out)]
            if found := compare(records, problems):
                lines += ["", f"{title}, {name}. {found.differences()}", ""]
                lines += write_table(HEADS, found.rows())
        for slots in IN_FLIGHT:
            problems = [p for s in SUITES for p in list_problems(s, held_out=held_out)]
            if found := compare(records, problems, (slots,)):
                lines += ["", f"{title}, {slots} in flight. {found.differences()}", ""]
                lines += write_table(HEADS, found.rows())
    return lines


def draw_suites(records: Records, path: Path) -> None:
    """Draw the mean ranks with their intervals, one panel per suite."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    every = {s: [p for h in (True, False) for p in list_problems(s, held_out=h)] for s in SUITES}
    found = {suite: compare(records, problems) for suite, problems in every.items()}
    panels = {suite: comparison for suite, comparison in found.items() if comparison}
    if not panels:
        return
    figure, axes = plt.subplots(
        1, len(panels), figsize=(2.6 * len(panels), 2.8), squeeze=False, layout="constrained"
    )
    for panel, (suite, comparison) in zip(axes.flat, panels.items(), strict=True):
        means = comparison.ranks.mean(axis=0)
        low, high = np.quantile(resample(comparison.ranks), [0.025, 0.975], axis=0)
        order = np.argsort(-means, kind="stable")
        at = np.arange(len(order))
        panel.errorbar(
            means[order], at, xerr=[(means - low)[order], (high - means)[order]], fmt="o"
        )
        panel.set_yticks(at, [comparison.names[index] for index in order])
        panel.set(title=suite, xlabel="mean rank (1 is best)")
    figure.savefig(path, dpi=110)
    plt.close(figure)
