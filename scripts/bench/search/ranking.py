"""Ranks and regrets of searches on published benchmarks."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import friedmanchisquare, rankdata, studentized_range, wilcoxon

from bench.search.measures import write_table
from bench.search.runs import Run
from bench.search.suites import IN_FLIGHT, NUM_EVALUATIONS, SUITES, list_problems

Records = Mapping[Run, Mapping[str, Any]]

PEER, BASELINE = "optuna-tpe", "random"
SLOW = ("bayesian", "optuna-gp", "smac")
"""Searches that are run on fewer blocks, and compared on those alone."""
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
            duels = [self._duel(index, other) for other in (PEER, BASELINE)]
            rows.append([self.names[index], rank, share[index], *duels, cost])
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
        if BASELINE not in self.names:
            return ["–"] * len(self.names)
        floor = 1e-3 * np.median(self.regrets_BS[:, self.names.index(BASELINE)])
        logs_BS = np.log(self.regrets_BS + max(floor, 1e-12))
        logs_BS = logs_BS - logs_BS[:, [self.names.index(BASELINE)]]
        low, high = np.exp(np.quantile(resample(logs_BS), [0.025, 0.975], axis=0))
        means = np.exp(logs_BS.mean(axis=0))
        return [f"{m:.2g} ({a:.2g}–{b:.2g})" for m, a, b in zip(means, low, high, strict=True)]

    def _duel(self, index: int, name: str) -> str:
        """Return wins, ties and losses against another search, and Wilcoxon's p."""
        if name not in self.names or self.names[index] == name:
            return "–"
        other = self.names.index(name)
        apart = self.regrets_BS[:, index] - self.regrets_BS[:, other]
        wins, losses = int((apart < -_TIED).sum()), int((apart > _TIED).sum())
        ranks = self.ranks[:, index] - self.ranks[:, other]
        p = wilcoxon(ranks).pvalue if ranks.any() else 1.0
        return f"{wins}/{len(apart) - wins - losses}/{losses}, p {p:.2g}"


def resample(values_BS: np.ndarray) -> np.ndarray:
    """Return the means of 2,000 resamples of the blocks."""
    generator = np.random.default_rng(0)
    chosen = generator.integers(len(values_BS), size=(2000, len(values_BS)))
    return np.asarray(values_BS[chosen].mean(axis=1))


def compare(
    records: Records,
    problems: Sequence[str],
    slots: Sequence[int] = IN_FLIGHT,
    without: Sequence[str] = (),
) -> Comparison | None:
    """Return the comparison over the blocks that every search was run on; None without any.

    Searches ``without`` are left out.
    """
    blocks: dict[tuple[str, int, int], dict[str, Mapping[str, Any]]] = {}
    for run, record in records.items():
        if run.part != "suites" or run.search in without:
            continue
        if run.problem in problems and run.slots in slots:
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
    f"against {BASELINE}",
    "CPU ms a suggestion",
]


def tell_suites(records: Records) -> list[str]:
    """Return the section on published benchmarks."""
    lines = [
        f"Regret after {NUM_EVALUATIONS} evaluations, {', '.join(map(str, IN_FLIGHT))} in flight. "
        "A search sees one seed of a table and is scored by the mean of its seeds. Intervals: 95 % "
        "by bootstrap over blocks, each a problem with a seed and a number in flight.",
    ]

    def add(title: str, suites: Sequence[str], held_out: bool, **kept: Any) -> None:
        problems = [p for s in suites for p in list_problems(s, held_out=held_out)]
        if found := compare(records, problems, **kept):
            lines.extend(["", f"{title}. {found.differences()}", ""])
            lines.extend(write_table(HEADS, found.rows()))

    for held_out in (True, False):
        title = "Held-out problems" if held_out else "Problems used in development"
        add(f"{title}, all suites", SUITES, held_out, without=SLOW)
        for suite in SUITES:
            add(f"{title}, {suite}", (suite,), held_out, without=SLOW)
        for slots in IN_FLIGHT:
            add(f"{title}, {slots} in flight", SUITES, held_out, slots=(slots,), without=SLOW)
        if any(run.search in SLOW for run in records):
            add(f"{title}, with {' and '.join(SLOW)}", SUITES, held_out)
    return lines


def draw_suites(records: Records, path: Path) -> None:
    """Draw the mean ranks with their intervals, one panel per suite."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    every = {s: [p for h in (True, False) for p in list_problems(s, held_out=h)] for s in SUITES}
    found = {suite: compare(records, p, without=SLOW) for suite, p in every.items()}
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
