"""What a study says, in sentences: each beside a plot, each made from the study's numbers."""

import contextlib
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from raytune_yesno.config import find_task
from raytune_yesno.errors import InputError, quote
from raytune_yesno.report.best_so_far import Curve
from raytune_yesno.report.compare import Difference, Group, name_mean
from raytune_yesno.report.early_stopping import EarlyStopping
from raytune_yesno.report.importance import Importance
from raytune_yesno.report.timeline import name_nodes
from raytune_yesno.study import Study
from raytune_yesno.study.efficiency import Efficiency
from raytune_yesno.study.events import is_number
from raytune_yesno.text import format_seconds

if TYPE_CHECKING:
    from raytune_yesno.config import Config

CAUSES = {
    "efficiency": "training",
    "startup": "starting up",
    "reporting": "between epochs",
    "gaps": "between trials",
    "tail": "idle at the end",
}


def count_statuses(study: Study) -> str:
    """Return how many trials ended how."""
    counts: dict[str, int] = {}
    for trial in study.trial_list:
        counts[trial.status] = counts.get(trial.status, 0) + 1
    return ", ".join(f"{count} {status}" for status, count in counts.items())


def describe_objective(study: Study) -> list[str]:
    """Return by which metric and in which direction trials are judged, and who says so."""
    metric = f"metric: {study.metric}" + f" ({study.metric_source})" * bool(study.metric_source)
    best = f"{study.mode} is best" + f" ({study.mode_source})" * bool(study.mode_source)
    return [metric, best] if study.metric_source else [f"{metric}, {best}"]


def describe_state(study: Study) -> str:
    """Return whether the search is over."""
    whole = int(study.asked.get("trials") or len(study.trial_list))
    ended = sum(trial.status != "running" for trial in study.trial_list)
    seconds = format_seconds(study.end_time - study.asked["time"])
    if study.searched:
        why = f" It ended before its last trial: {study.reason}." if study.reason else ""
        return f"The search is over: {count_statuses(study)}, in {seconds}.{why}"
    return f"Running or interrupted: {ended} of {whole} trials have ended, {seconds} so far."


def describe_curves(study: Study) -> str:
    """Return what to see in the learning curves."""
    best = study.best
    if best is None:
        return "No trial has come to a result yet."
    epoch, last = best.metrics["epoch"], best.epochs[-1]["epoch"]
    stopped = sum(trial.status == "stopped" for trial in study.trial_list)
    late = (
        "the scheduler stopped it there, still at its best"
        if best.status == "stopped" and epoch == last
        else "its last epochs were still its best, so longer trials may be better yet"
        if epoch >= 0.9 * last
        else "it got no better in the "
        + ("epoch" if last - epoch == 1 else f"{last - epoch} epochs")
        + " after that"
    )
    failed = sum(trial.status in ("failed", "diverged") for trial in study.trial_list)
    crosses = "".join(
        (
            f"; a cross marks one of the {stopped} that the scheduler stopped" * (stopped > 0),
            f"; a red cross one of the {failed} that failed or diverged" * (failed > 0),
        )
    )
    return (
        f"Each line is a trial{crosses}. "
        f"Trial {best.number}, lit up, was best at epoch {epoch} of {last}: {late}."
    )


def describe_progress(study: Study, curve: Curve) -> str:
    """Return when the best came, and what the second half of the trials brought."""
    if not curve:
        return "No trial has come to a result yet."
    total = len(study.trial_list)
    improvements = [place for place, _ in curve[:-1]] if len(curve) > 1 else [curve[0][0]]
    if len(curve) > 1 and curve[-1][1] != curve[-2][1]:
        improvements.append(curve[-1][0])
    last = round(improvements[-1])
    half = [value for place, value in curve if place <= total / 2]
    text = f"The best is the trial asked for as number {last} of {total}. "
    if total < 8 or not half:
        return text.strip()
    if half[-1] == curve[-1][1]:
        return text + "The second half of the trials brought nothing better."
    gain = abs(curve[-1][1] - half[-1]) / max(abs(half[-1]), 1e-300)
    return text + f"The second half of the trials improved {study.metric} by {gain:.0%}."


def describe_importance(found: Importance) -> str:
    """Return which hyperparameters mattered."""
    if found.refused:
        return f"Not told: {found.refused}."
    clear = found.clear[:4]
    which = (
        f"{join_names(clear)} mattered more than luck explains"
        if clear
        else "no single one can be told from luck"
    )
    weak = (
        "This is weak evidence, which more trials may overturn. "
        if found.score < 2 * found.score_error
        else ""
    )
    drawn = f", drawn from {found.num_results}" * (found.num_results > found.num_trials)
    return (
        f"Of the hyperparameters, {which}. {weak}It rests on {found.num_trials} trials{drawn}: "
        f"{found.num_fits} random forests foretell the ranks of trials they have not seen with R² "
        f"{found.score:.2f} ± {found.score_error:.2f} (1 is perfect, 0 is a guess). A bar is how "
        "much worse they do with that hyperparameter shuffled, a thin line a standard deviation; "
        f"the upright line, at {found.luck:.2f}, is the most that any came to with the results "
        "dealt out anew 19 times. "
        "Where a search tries one region more than others, that is importance within the region."
    )


def describe_early_stopping(study: Study, spent: EarlyStopping) -> str:
    """Return what stopping early saved, and whether it was right."""
    if not spent.stopped:
        return (
            f"No trial was stopped early: the trials took {spent.epochs} epochs, up to "
            f"{spent.longest} each."
        )
    saved = 1 - spent.epochs / spent.full_epochs
    text = (
        f"{spent.stopped} trials were stopped early: {spent.epochs} epochs instead of the "
        f"{spent.full_epochs} of running all to the end, {saved:.0%} saved. "
    )
    told = [rung for rung in spent.rungs if rung.agreement is not None]
    if not told:
        return text + "Too few trials ran to the end to say whether the rungs judged them well."
    first = told[0]
    agreement = first.agreement or 0.0
    verdict = "well" if agreement > 0.6 else "roughly" if agreement > 0.3 else "badly"
    return text + (
        f"Epoch {first.epoch} foretold the end {verdict}: over the {first.judged} trials that ran "
        f"on to the end, rank correlation {agreement:.2f} (1 is perfect, 0 is chance)."
    )


def describe_efficiency(study: Study, efficiency: Efficiency | None) -> str:
    """Return where the time went."""
    if efficiency is None:
        return "Nothing has run yet."
    shares = {cause: getattr(efficiency, cause) for cause in CAUSES if cause != "efficiency"}
    worst = max(shares, key=lambda cause: shares[cause])
    text = (
        f"{efficiency.efficiency:.0%} of the time of {study.num_slots} "
        f"slot{'s' * (study.num_slots != 1)} was training; the "
        f"most of the rest, {shares[worst]:.0%}, was {CAUSES[worst]}"
    )
    gap = efficiency.median_gap_s
    retried = sum(trial.attempts > 1 for trial in study.trial_list)
    if gap is not None:
        text += f". From one trial to the next took {gap:.2g} s, the first began after "
        text += f"{efficiency.startup_s:.1f} s"
    if len(nodes := name_nodes(study)) > 1:
        counts: dict[str, set[int]] = {name: set() for name in nodes.values()}
        for trial in study.trial_list:
            for epoch in trial.epochs:
                counts[nodes[epoch["host"], epoch.get("node", "")]].add(trial.number)
        told = [f"{len(trials)} on {name}" for name, trials in counts.items()]
        text += f". Of the trials ran {join_names(told)}"
    return text + (f". {retried} trials were started more than once." if retried else ".")


def describe_comparison(groups: Sequence[Group], metric: str, mode: str) -> str:
    """Return which search was better."""
    able = [group for group in groups if group.mean is not None]
    if len(able) < 2:
        return "These are studies of one search, so there is nothing to compare."
    sign = -1 if mode == "max" else 1
    best = min(able, key=lambda group: sign * (group.mean or 0.0))
    runs = len(best.bests)
    text = (
        f"{best.label} came to the best {metric}, {best.mean:.4g}"
        f"{f' in the {name_mean(groups)} of {runs} studies' * (runs > 1)}. "
    )
    if sum(len(group.bests) > 1 for group in able) < 2:
        return text + (
            "With one study of each, that may be luck: repeat each with other seeds to tell."
        )
    return text + (
        "p says how often the same studies, dealt out by chance, would differ as much: small is "
        "hardly luck. It cannot be below the least that so few studies allow."
    )


def judge_difference(difference: Difference) -> str:
    """Return whether a difference is luck."""
    if difference.adjusted < 0.05:
        return "hardly luck"
    return "too few studies to tell" if difference.least_p >= 0.05 else "may be luck"


def describe_test(refit: Mapping[str, Any] | None, task: str = "") -> str:
    """Return the held-out figures of the refit; empty without a test.

    Studies of earlier versions have no line on them: the task, if it is built in, makes it.
    """
    refit = refit or {}
    if says := refit.get("test_says"):
        return str(says)
    figures = refit.get("test")
    if not isinstance(figures, Mapping) or not figures:
        return ""
    with contextlib.suppress(InputError, KeyError, TypeError, ValueError, AttributeError):
        return str(find_task(task).describe_test(figures))
    shown = (f"{name} {value:.4g}" for name, value in figures.items() if is_number(value))
    return ", ".join(shown)


def describe_test_briefly(refit: Mapping[str, Any] | None) -> str:
    """Return the first held-out figure; empty without a test."""
    figures = (refit or {}).get("test")
    if not isinstance(figures, Mapping):
        return ""
    return next((f"{name} {value:.4g}" for name, value in figures.items() if is_number(value)), "")


_SETTINGS = (
    *("trials", "search", "search_options", "scheduler", "scheduler_options", "max_concurrent"),
    *("time_budget", "target", "patience", "max_failures"),
)


def describe_commands(study: Study) -> tuple[str, str, str]:
    """Return what trains the best config again, what makes the study again, and the YAML file that
    takes; empty where the study does not say what was asked."""
    asked = study.asked
    if "config" not in asked or "data" not in asked:
        return "", "", ""
    import yaml

    from raytune_yesno.config import build_config, upgrade_config

    best = study.best
    try:
        base = build_config(upgrade_config(asked["config"]))
        trained = build_config(base.as_dict(), best.best_point) if best else base
    except InputError:  # of another version, with other keys
        return "", "", ""
    train = ""
    if best:
        words = ["raytune-yesno", "train", *(["--data", study.data] if study.data else [])]
        shown = {**list_changes(trained), **best.best_point, "seed": trained.seed}
        for key, value in shown.items():
            text = value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
            words += ["--set", f"{key}={text}"]
        train = " ".join(map(quote, words))
    config = list_changes(base)
    settings = {
        **({"data": study.data} if study.data else {}),
        "seed": base.seed,
        **{key: asked[key] for key in _SETTINGS if asked.get(key) not in (None, {})},
        **({"ordered": True, "W": asked["W"]} if asked.get("ordered") else {}),
        **({"config": config} if config else {}),
        "space": asked.get("space", {}),
    }
    file = yaml.safe_dump(settings, sort_keys=False, default_flow_style=None, width=1000)
    tune = "raytune-yesno tune --config study.yaml"
    if asked.get("warm_start"):
        tune += " --warm-start STUDY…"
    return train, tune, file


def list_changes(config: "Config") -> dict[str, Any]:
    """Return what makes a config, but for its seed, of the defaults of its task and model."""
    from raytune_yesno.config import build_config

    usual, whole = build_config().as_dict(), config.as_dict()
    named = {key: whole[key] for key in ("task", "model") if whole.get(key) != usual[key]}
    defaults = build_config(named).as_dict()
    changed = {key: value for key, value in whole.items() if value != defaults[key]}
    return {**named, **{key: value for key, value in changed.items() if key != "seed"}}


def join_names(names: Sequence[str]) -> str:
    """Return a list as people say it."""
    return names[0] if len(names) == 1 else ", ".join(names[:-1]) + " and " + names[-1]
