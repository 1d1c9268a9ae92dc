"""The values that the page's templates show: texts, tables, lengths of bars."""

from collections.abc import Sequence
from typing import Any

from raytune_yesno.report import sentences, summary, tables
from raytune_yesno.report.attainment import describe_attainment, tabulate_attainment
from raytune_yesno.report.best_so_far import trace_best
from raytune_yesno.report.comparison import Comparison
from raytune_yesno.report.early_stopping import measure_early_stopping
from raytune_yesno.report.front import view_front
from raytune_yesno.report.importance import Importance
from raytune_yesno.report.range_edges import find_edges
from raytune_yesno.report.study_groups import choose_figure, describe_incomparable
from raytune_yesno.study import Study
from raytune_yesno.text import format_value, plural

MAX_PROBLEMS = 20  # shown on the page; the rest are counted


def view_study(
    study: Study,
    importance: Importance,
) -> dict[str, Any]:
    """Return the values of ``sections.html.j2`` for one study."""
    stopping = measure_early_stopping(study)
    train, tune, file = sentences.describe_commands(study)
    versions = study.settings.get("versions", {}).items()
    tested = sentences.find_tested(study)
    return {
        "answers": [
            *summary.name_objective(
                study,
                summary.answer_importance(importance),
                summary.answer_early_stopping(stopping),
            ),
            *summary.answer_gain(study),
            summary.answer_more_trials(study),
            summary.answer_time(study),
            *summary.answer_luck(study),
        ],
        "front": view_front(study),
        "which": "chosen" if study.objective.others else "best",
        "state": sentences.describe_state(study),
        "cards": _list_cards(study),
        "best_config": (
            {key: format_value(value) for key, value in study.best.best_point.items()}
            if study.best
            else None
        ),
        "test_name": "Test" if tested is None else f"Test of trial {tested}",
        "test": sentences.describe_test(study.refit, study.task, study.metrics),
        "edges": [str(edge) for edge in find_edges(study)],
        "settings": _list_settings(study),
        "versions": ", ".join(f"{name} {version}" for name, version in versions),
        "train_command": sentences.split_command(train),
        "tune_command": sentences.split_command(tune),
        "study_file": file,
        "problems": study.problems,
        "max_problems": MAX_PROBLEMS,
        "curves": sentences.describe_curves(study),
        "progress": sentences.describe_progress(study, trace_best(study)["trials"]),
        "importance": sentences.describe_importance(importance),
        "bars": _list_bars(importance),
        "early_stopping": sentences.describe_early_stopping(stopping),
        "rungs": tables.tabulate_rungs(study.objective.metric, stopping),
        "time": sentences.describe_efficiency(study),
        "shares": _list_shares(study),
        "failures": sentences.describe_failures(study),
        "causes": tables.tabulate_causes(study),
    }


def _list_cards(study: Study) -> list[dict[str, str]]:
    """Return the metrics of the best epoch, the objective first."""
    best = study.best
    if best is None:
        return []
    metrics = {metric.name: metric for metric in study.metrics}
    objective = metrics.pop(study.metric, study.find_metric(study.metric))
    return [
        {
            "name": metric.name,
            "value": metric.show(best.metrics[metric.name]),
            "note": (
                f"{'chosen' if study.objective.others else 'best'}, trial {best.number}"
                f"{sentences.describe_mean(study.candidates[0])}"
                if metric is objective
                else f"at epoch {best.metrics['epoch']}"
            ),
        }
        for metric in (objective, *metrics.values())
        if best.metrics.get(metric.name) is not None
    ]


def _list_settings(study: Study) -> dict[str, Any]:
    """Return the settings of a study, without what is not known."""
    recorded = study.settings
    warm_start = (recorded.get("warm_start") or {}).get("observations")
    settings = {
        "objective": "; ".join(sentences.describe_objective(study)),
        "search": recorded.get("search"),
        "scheduler": recorded.get("scheduler"),
        "seed": study.config.get("seed"),
        # One for each point: a point that was trained several times has one result.
        "warm start": f"{plural(len(warm_start), 'result')} of other studies"
        if warm_start
        else None,
        "slots": study.slots_text,
        "data": study.data,
        "corpus": recorded.get("corpus", {}).get("source"),
        "fingerprint": recorded.get("corpus", {}).get("fingerprint"),
    }
    return {name: value for name, value in settings.items() if value not in (None, "")}


def view_comparison(studies: Sequence[Study], comparison: Comparison) -> dict[str, Any]:
    """Return the values of the comparison's section."""
    names, groups, differences = comparison.names, comparison.groups, comparison.differences
    figure, objectives = choose_figure(studies), studies[0].objective.objectives
    repeated = any(len(group.members) > 1 for group in groups)
    repeated = repeated and not describe_incomparable(studies)
    attained = comparison.attained
    return {
        "texts": summary.describe_studies(studies, names, groups, differences),
        "groups": tables.tabulate_groups(groups, figure) if repeated else None,
        "pairs": tables.tabulate_pairs(differences, figure) if differences else None,
        "studies": tables.tabulate_studies(studies, names),
        "attainment": describe_attainment(attained, objectives) if attained else None,
        "attained": tabulate_attainment(attained, objectives) if attained else None,
    }


def _list_bars(found: Importance) -> list[dict[str, str]]:
    """Return a bar per hyperparameter: mean, one standard deviation and the level of chance."""
    if found.refused:
        return []
    pairs = list(zip(found.means, found.spreads, strict=True))
    longest = max(found.chance_level, *(mean + spread for mean, spread in pairs))
    bars = []
    for name, (mean, spread) in zip(found.names, pairs, strict=True):
        low, high = max(0.0, mean - spread), max(0.0, mean + spread)
        bars.append(
            {
                "name": name,
                "mean": _percent(max(0.0, mean), longest),
                "low": _percent(low, longest),
                "width": _percent(high - low, longest),
                "chance": _percent(found.chance_level, longest),
                "figure": f"{round(mean, 3) + 0.0:.3f} ± {spread:.3f}",
            }
        )
    return bars


def _list_shares(study: Study) -> list[dict[str, str]]:
    """Return the shares of the slots' time by cause, training first."""
    efficiency = study.efficiency
    if efficiency is None:
        return []
    shares = {cause: max(0.0, getattr(efficiency, cause)) for cause in sentences.CAUSES}
    return [
        {
            "key": cause,
            "name": sentences.CAUSES[cause],
            "width": _percent(share, 1),
            "percent": f"{share:.1%}",
        }
        for cause, share in shares.items()
    ]


def _percent(part: float, total: float) -> str:
    return f"{100 * part / total if total > 0 else 0:.2f}%"
