"""The tables of a report: their texts, for the page and the terminal."""

from collections.abc import Sequence
from typing import NamedTuple

from raytune_yesno.metrics import Metric
from raytune_yesno.report import sentences, summary
from raytune_yesno.report.early_stopping import EarlyStopping
from raytune_yesno.report.study_groups import (
    HYPERVOLUME,
    MIN_REPEATS,
    Difference,
    Group,
    have_common_front,
    list_objectives,
    measure_figures,
    name_mean,
)
from raytune_yesno.study import Study
from raytune_yesno.study.trial import UNSUCCESSFUL
from raytune_yesno.text import format_seconds

MAX_CAUSES = 50
MAX_FAILED_TRIALS = 12  # numbers listed for one cause
MISSING = "–"
"""A cell without a value."""


class Table(NamedTuple):
    """A table's column names and its rows.

    Attributes:
        heads: the names of the columns.
        rows: the cells of each row.
        texts: the indices of the columns of text, which are aligned left.
    """

    heads: Sequence[str]
    rows: Sequence[Sequence[object]]
    texts: Sequence[int] = ()


def align(rows: Sequence[Sequence[object]], left: int = 0) -> list[str]:
    """Return rows as lines of equal columns; the first ``left`` columns are aligned left."""
    cells = [[str(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return [
        "  ".join(
            cell.ljust(size) if k < left else cell.rjust(size)
            for k, (cell, size) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in cells
    ]


def tabulate_studies(studies: Sequence[Study], names: Sequence[str]) -> Table:
    """Return a row per study; columns that are empty for all studies are left out."""
    metric = studies[0].objective.metric
    several = have_common_front(studies)
    is_one = len({list_objectives(study)[0] for study in studies}) == 1
    volumes = measure_figures(studies) if several else [None] * len(studies)
    heads = ("study", "search", "scheduler", "seed", "trials", "failed", "epochs", "time")
    rows = []
    for study, name, volume in zip(studies, names, volumes, strict=True):
        best, settings = study.best, study.settings
        failed = sum(trial.status in UNSUCCESSFUL for trial in study.trial_list)
        rows.append(
            (
                name,
                str(settings.get("search") or ""),
                str(settings.get("scheduler") or ""),
                str(study.config.get("seed", "")),
                str(len(study.trial_list)),
                str(failed or ""),
                str(sum(len(trial.epochs) for trial in study.trial_list)),
                format_seconds(study.duration),
                str(len(study.front)) if several else "",
                HYPERVOLUME.show(volume),
                f"{'' if is_one else study.objective.metric.title + ' '}{best.result}"
                if best
                else "",
                sentences.describe_test_briefly(study.refit, study.metrics)
                if sentences.find_tested(study) is None
                else "",
            )
        )
    shown = [k for k, column in enumerate(zip(*rows, strict=True)) if any(column)]
    chosen = "chosen" if several else "best"
    named = (
        *heads,
        "on front",
        "hypervolume",
        f"{chosen} {metric.title}" if is_one else chosen,
        "test",
    )
    cells = [[row[k] or MISSING for k in shown] for row in rows]
    texts = [column for column, k in enumerate(shown) if k < 3]
    return Table([named[k] for k in shown], cells, texts)


def tabulate_groups(groups: Sequence[Group], metric: Metric) -> Table:
    """Return a row per search, with the mean of its studies.

    If some of them ended without a figure, the number of those with one is shown, too.
    """
    heads = ("search", "studies", f"best {metric.title}, {name_mean(groups)}", "95% interval")
    rows = [
        (
            group.label,
            (
                f"{len(group.bests)} of {len(group.members)}"
                if group.num_without
                else len(group.members)
            ),
            metric.show(group.mean) or MISSING,
            (
                " to ".join(map(metric.show, group.interval))
                if group.interval
                else MISSING
                if group.num_without
                else f"needs {MIN_REPEATS} studies"
            ),
        )
        for group in groups
    ]
    return Table(heads, rows, [0])


def tabulate_pairs(differences: Sequence[Difference], metric: Metric) -> Table:
    """Return a row per pair of searches, with the test of their difference."""
    heads = (
        *("pair", "difference", "p", "p, adjusted for all pairs"),
        *("smallest possible p", "chance?"),
    )
    rows = [
        (
            f"{each.first} – {each.second}",
            (
                f"{100 * each.difference:+.3g} points"
                if metric.format == "percent" and not each.log
                else str(each)
            ),
            f"{each.p:.2g}",
            f"{each.adjusted:.2g}",
            f"{each.min_p:.2g}",
            summary.judge_difference(each),
        )
        for each in differences
    ]
    return Table(heads, rows, [0, len(heads) - 1])


def tabulate_rungs(metric: Metric, stopping: EarlyStopping) -> Table:
    """Return a row per epoch at which trials were stopped."""
    name = metric.title
    heads = ("epoch", "reached", "stopped", "continued", f"best {name}", f"worst {name} kept")
    rows = [
        (
            rung.epoch,
            rung.reached,
            rung.stopped,
            rung.reached - rung.stopped,
            metric.show(rung.best) or MISSING,
            metric.show(rung.worst_kept) or MISSING,
            MISSING if rung.agreement is None else f"{rung.agreement:.2f} ({rung.judged})",
        )
        for rung in stopping.rungs
    ]
    return Table((*heads, "rank correlation with the end (trials)"), rows)


def tabulate_causes(study: Study) -> Table:
    """Return the failed and diverged trials by cause, the most frequent cause first."""
    causes: dict[str, list[int]] = {}
    for trial in study.trial_list:
        if trial.status in UNSUCCESSFUL:
            cause = "a value is not finite" if trial.status == "diverged" else "no recorded cause"
            causes.setdefault(trial.error or cause, []).append(trial.number)
    rows = [
        (
            len(numbers),
            cause,
            ", ".join(map(str, numbers[:MAX_FAILED_TRIALS]))
            + " …" * (len(numbers) > MAX_FAILED_TRIALS),
        )
        for cause, numbers in sorted(causes.items(), key=lambda item: -len(item[1]))
    ]
    return Table(("trials", "cause", "trial numbers"), rows[:MAX_CAUSES], [1])
