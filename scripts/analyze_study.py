"""Analyze studies from Python: a worked example, to copy and change.

    python scripts/analyze_study.py studies/tpe-* studies/random-* --picture best.png > result.md

It loads studies, compares the searches with a significance test, draws the best metric so far for a
paper, and prints Markdown.

Needs the environment that scripts/quickstart makes; the picture, matplotlib: pip install '.[plot]'.
Studies that differ in their seed alone count as repeats of one search.
"""

import argparse
import math
from collections.abc import Sequence
from pathlib import Path

from raytune_yesno.report.best_so_far import trace_best
from raytune_yesno.report.export import format_markdown
from raytune_yesno.report.importance import measure_importance
from raytune_yesno.report.study_groups import (
    MIN_REPEATS,
    choose_figure,
    compare_groups,
    describe_incomparable,
    group_studies,
    name_mean,
)
from raytune_yesno.study import Study, join_trials, load_all, name_studies


def print_markdown(heads: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    print(format_markdown(heads, rows))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("studies", nargs="+", metavar="STUDY")
    parser.add_argument("--picture", type=Path, metavar="PNG", help="draw the best so far")
    options = parser.parse_args()

    studies = load_all(options.studies)
    if why := describe_incomparable(studies):
        parser.error(why)
    print_trials(studies)
    print_searches(studies)
    print_importance(studies)
    if options.picture:
        save_picture(studies, options.picture)


def print_trials(studies: Sequence[Study]) -> None:
    """The five best trials of all: `join_trials` gives one tidy table, and pandas does the rest."""
    metric = studies[0].metric
    table = join_trials(studies)
    counted = {  # of a point that was trained several times, the best result would be luck
        (name, trial.number)
        for name, study in zip(name_studies(studies), studies, strict=True)
        for trial in study.ranking
        if trial.is_feasible
    }
    counts = [pair in counted for pair in zip(table["study"], table["trial"], strict=True)]
    best = table.loc[counts].sort_values(metric, ascending=studies[0].mode == "min").head(5)
    columns = ["study", "trial", metric, "best_epoch", "epochs", "seconds"]
    print(f"## The best of {len(table)} trials\n")
    print_markdown(columns, best[columns].astype(object).to_numpy().tolist())


def print_searches(studies: Sequence[Study]) -> None:
    """Each search's mean best with its interval, and whether two differ by more than luck."""
    groups = group_studies(studies)
    rows = []
    for group in groups:
        interval = "–" if group.interval is None else "{:.4g} to {:.4g}".format(*group.interval)
        rows.append([group.label, len(group.members), group.mean, interval])
    print("\n## Searches\n")
    print_markdown(
        [
            *("search", "studies"),
            f"best {choose_figure(studies).name}, {name_mean(groups)}",
            "95% interval",
        ],
        rows,
    )
    differences = compare_groups(groups)
    if not differences:
        print(f"\nNothing to test: give two searches, each with {MIN_REPEATS} studies or more.")
        return
    print("\nTwo-sided permutation tests of the difference of means:\n")
    print_markdown(
        ["pair", "difference", "p, adjusted for all pairs", "smallest possible p"],
        [[f"{d.first} – {d.second}", str(d), d.adjusted, d.min_p] for d in differences],
    )


def print_importance(studies: Sequence[Study]) -> None:
    """Which hyperparameters mattered, by study."""
    print("\n## Hyperparameters\n")
    for study, name in zip(studies, name_studies(studies), strict=True):
        found = measure_importance(study)
        if found.refused:
            print(f"- {name}: cannot tell: {found.refused}")
            continue
        first = zip(found.names[:3], found.means, found.spreads, strict=False)
        told = ", ".join(f"{key} {mean:.2f} ± {spread:.2f}" for key, mean, spread in first)
        chance = f"chance explains up to {found.chance_level:.2f}"
        print(f"- {name}, of {found.num_trials} trials: {told}; {chance}")


def save_picture(studies: Sequence[Study], path: Path) -> None:
    """Draw the best so far against the epochs spent, one colour a search."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(5, 3.2), layout="constrained")
    lowest = math.inf
    for index, group in enumerate(group_studies(studies)):
        for repeat, member in enumerate(group.members):
            curve = trace_best(studies[member])["epochs"]
            lowest = min(lowest, *(value for _, value in curve), math.inf)
            axes.step(
                [place for place, _ in curve],
                [value for _, value in curve],
                where="post",
                color=f"C{index % 10}",
                alpha=0.8,
                label=group.label if repeat == 0 else None,
            )
    axes.set(xlabel="epochs of all trials", ylabel=f"best {studies[0].metric}")
    axes.set_yscale("log" if lowest > 0 else "linear")
    axes.legend(frameon=False)
    figure.savefig(path, dpi=200)
    plt.close(figure)


if __name__ == "__main__":
    main()
