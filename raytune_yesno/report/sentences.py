"""Sentences about a study, computed from its numbers: the texts beside the page's plots."""

import contextlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from raytune_yesno.config import Config, EngineConfig, build_config, find_task, upgrade_config
from raytune_yesno.errors import InputError, quote
from raytune_yesno.metrics import Metric
from raytune_yesno.report.best_so_far import Curve
from raytune_yesno.report.early_stopping import MIN_JUDGED, USEFUL, EarlyStopping, was_stopped_early
from raytune_yesno.report.importance import NUM_PERMUTATIONS, Importance
from raytune_yesno.report.timeline import name_nodes
from raytune_yesno.study import Study
from raytune_yesno.study.candidates import Candidate
from raytune_yesno.study.events import is_number
from raytune_yesno.study.trial import UNSUCCESSFUL
from raytune_yesno.study_settings import STUDY_SETTINGS
from raytune_yesno.task_registry import TASKS
from raytune_yesno.text import format_seconds, join_names, plural
from raytune_yesno.values import write_typed

CAUSES = {
    "efficiency": "training",
    "startup": "startup",
    "reporting": "overhead between epochs",
    "gaps": "overhead between trials",
    "tail": "idle time at the end",
}
"""What slots spend their time on, by the attribute of :class:`Efficiency`."""

NO_RESULT = "No trial has a result yet."
MIN_TRIALS_TO_HALVE = 8  # with fewer, the two halves of a study say nothing


def count_statuses(study: Study) -> str:
    """Return the number of trials by status."""
    counts = Counter(trial.status for trial in study.trial_list)
    return ", ".join(f"{count} {status}" for status, count in counts.items())


def describe_objective(study: Study) -> list[str]:
    """Return the metric and the direction that judge trials, and where both come from."""
    if study.objective.others:
        names = (f"{metric.name} ({metric.mode})" for metric in study.objective.objectives)
        limits = [f"limits: {', '.join(map(str, study.objective.limits))}"]
        return [f"objectives: {', '.join(names)}", *limits * bool(study.objective.limits)]
    metric = f"metric: {study.metric}" + f" ({study.metric_source})" * bool(study.metric_source)
    best = f"{study.mode} is best" + f" ({study.mode_source})" * bool(study.mode_source)
    return [metric, best] if study.metric_source else [f"{metric}, {best}"]


def describe_mean(candidate: Candidate) -> str:
    """Return the mean of a point's trainings in parentheses; empty with one training.

    The first training of a point that was chosen for it is better than the point, by luck.
    """
    if len(candidate.results) < 2:
        return ""
    mean = candidate.trial.objective.metric.show(candidate.value)
    return f" (mean of {len(candidate.results)} trainings: {mean})"


def describe_state(study: Study) -> str:
    """Return whether the search has finished."""
    ended = sum(trial.status != "running" for trial in study.trial_list)
    seconds = format_seconds(study.duration)
    if not study.searched:
        return (
            f"Running or interrupted: {ended} of {study.num_asked} trials have ended in {seconds}."
        )
    reason = f" It ended before its last trial: {study.reason}." if study.reason else ""
    return f"The search finished in {seconds}. Trials: {count_statuses(study) or 'none'}.{reason}"


def describe_curves(study: Study) -> str:
    """Return how to read the learning curves, and when the best trial was best."""
    best = study.best
    if best is None:
        return NO_RESULT
    if all(len(trial.epochs) <= 1 for trial in study.trial_list):
        return "No trial reported more than once, so there are points instead of curves."
    epoch, last = best.metrics["epoch"], best.last_epoch
    # Of equal epochs the later one is best, so a plateau is no improvement.
    first, _ = min(best.costs, key=lambda pair: pair[1])
    after, improving = last - first, first > best.costs[0][0]
    late = f"It had reached the same result at epoch {first}. " * (first < epoch)
    if was_stopped_early(best) and not after:
        trend = ", while it was still improving" * improving
        late += f"The scheduler stopped it there{trend}."
    elif improving and first >= 0.9 * last:
        late += "It was still improving at the end, so longer trials may do better."
    elif after == 1:
        late += "The epoch after that brought no improvement."
    elif after:
        late += f"The {after} epochs after that brought no improvement."
    stopped = sum(trial.status == "stopped" for trial in study.trial_list)
    failed = sum(trial.status in UNSUCCESSFUL for trial in study.trial_list)
    crosses = f" A cross marks a trial that was stopped ({stopped})." * (stopped > 0)
    crosses += f" A red cross marks a trial that failed or diverged ({failed})." * (failed > 0)
    return (
        f"Each line is a trial.{crosses} Trial {best.number}, highlighted, was best at epoch "
        f"{epoch} of {last}. {late}"
    ).rstrip()


def describe_progress(study: Study, curve: Curve) -> str:
    """Return when the best result came, and what the second half of the trials brought."""
    if not curve:
        return NO_RESULT
    total = sum(not trial.final for trial in study.trial_list)
    improvements = [x for x, _ in curve[:-1]] if len(curve) > 1 else [curve[0][0]]
    if len(curve) > 1 and curve[-1][1] != curve[-2][1]:
        improvements.append(curve[-1][0])
    half = [value for x, value in curve if x <= total / 2]
    result = study.metric if study.objective.others else "result"
    text = f"The best {result} came after {round(improvements[-1])} of {total} trials."
    if total < MIN_TRIALS_TO_HALVE or not half:
        return text
    if half[-1] == curve[-1][1]:
        return text + " The second half of the trials brought no improvement."
    before, after = (study.objective.metric.show(value) for value in (half[-1], curve[-1][1]))
    if before == after:
        return text + " The second half of the trials brought hardly any improvement."
    return f"{text} The second half of the trials improved {study.metric} from {before} to {after}."


def describe_importance(found: Importance) -> str:
    """Return which hyperparameters mattered, and how that was measured."""
    if found.refused:
        return f"Cannot tell: {found.refused}."
    clear = found.clear[:4]
    which = (
        f"{join_names(clear)} mattered more than chance explains."
        if clear
        else "No hyperparameter mattered more than chance explains."
    )
    weak = (
        " This is weak evidence; more trials may change it."
        if found.score < 2 * found.score_error
        else ""
    )
    left_out = (
        f" Trials that failed or diverged are left out ({found.num_left_out}): what makes trials "
        "fail is not measured."
    ) * (found.num_left_out > 0)
    sampled = f", sampled from {found.num_results}" * (found.num_results > found.num_trials)
    return (
        f"{which}{weak} Method: {found.num_fits} random forests predict the ranks of held-out "
        f"trials ({found.num_trials} trials{sampled}) with R² {found.score:.2f} ± "
        f"{found.score_error:.2f} (1 is perfect, 0 is a guess). A bar shows how much the error "
        "grows if that hyperparameter is shuffled; the thin line is one standard deviation. The "
        f"vertical line at {found.chance_level:.2f} is the largest value of any hyperparameter in "
        f"{NUM_PERMUTATIONS} permutations of the results. If a search samples one region more "
        "than others, this is the importance within that region."
        f"{left_out}"
    )


def describe_early_stopping(stopping: EarlyStopping) -> str:
    """Return what early stopping saved, and whether its first rung predicted the end."""
    if not stopping.stopped:
        return (
            "No trial was stopped early. The trials trained "
            f"{plural(stopping.epochs, 'epoch')}, at most {stopping.longest} each."
        )
    verb = "was" if stopping.stopped == 1 else "were"
    return (
        f"{plural(stopping.stopped, 'trial')} {verb} stopped early. The trials trained "
        f"{plural(stopping.epochs, 'epoch')} instead of {stopping.full_epochs}. "
        f"{judge_early_stopping(stopping)[1]}"
    )


def judge_early_stopping(stopping: EarlyStopping) -> tuple[str, str]:
    """Return whether the first rung predicted the end, and the evidence with what it saved."""
    saved = f"Early stopping saved {stopping.saved:.0%} of the epochs."
    first = stopping.first_judged
    if first is None or first.agreement is None:
        return "Cannot tell.", (
            f"{saved} Too few trials ran to the end to judge it: at least {MIN_JUDGED} with "
            "different results are needed."
        )
    low, high = first.interval
    return "Yes." if low > USEFUL else "No." if high < USEFUL else "Perhaps.", (
        f"{saved} The order of the trials at epoch {first.epoch} has a rank correlation of "
        f"{first.agreement:.2f} with the final order (95% interval {low:.2f} to {high:.2f}; 1 is "
        f"perfect, 0 is chance), over the {first.judged} trials that ran to the end."
    )


def describe_efficiency(study: Study) -> str:
    """Return how the slots spent their time, and which nodes ran the trials."""
    efficiency = study.efficiency
    if efficiency is None:
        return describe_time(study)
    facts = []
    if efficiency.median_gap_s is not None:
        facts.append(
            f"The median gap between two trials was {efficiency.median_gap_s:.2g} s, the startup "
            f"of the study {efficiency.startup_s:.1f} s"
        )
    if len(set((nodes := name_nodes(study)).values())) > 1:
        counts: dict[str, set[int]] = {name: set() for name in nodes.values()}
        for trial in study.trial_list:
            for epoch in trial.epochs:
                counts[nodes[epoch["host"], epoch.get("node", "")]].add(trial.number)
        per_node = ", ".join(f"{len(trials)} on {name}" for name, trials in counts.items())
        facts.append(f"Trials per node: {per_node}")
    if study.pauses:
        facts.append(f"Pauses, which do not count: {len(study.pauses)}")
    if retried := sum(trial.attempts > 1 for trial in study.trial_list):
        facts.append(f"Trials with more than one attempt: {retried}")
    return " ".join((describe_time(study), *(f"{fact}." for fact in facts)))


def describe_time(study: Study) -> str:
    """Return what share of the slots' time was training, and what most of the rest was."""
    efficiency = study.efficiency
    if efficiency is None:
        return "No trial has trained yet."
    share, cause = efficiency.largest_overhead
    return (
        f"{efficiency.efficiency:.1%} of the time of {study.slots_text} "
        f"{'slot' if study.num_slots == 1 else 'slots'} was "
        f"training. The largest other part was {CAUSES[cause]} ({share:.1%})."
    )


def describe_failures(study: Study) -> str:
    """Return how many trials failed or diverged."""
    failed = sum(trial.status in UNSUCCESSFUL for trial in study.trial_list)
    if not failed:
        return "No trial failed or diverged."
    return f"{failed} of {plural(len(study.trial_list), 'trial')} failed or diverged."


def describe_test(
    refit: Mapping[str, Any] | None, task: str = "", metrics: Sequence[Metric] = ()
) -> str:
    """Return the refit's figures on the test part; empty without a test.

    Records of earlier versions hold the figures but no text. A built-in task can write it. Without
    one, figures have the form of the ``metrics`` of the same name.
    """
    refit = refit or {}
    if says := refit.get("test_says"):
        return str(says)
    figures = refit.get("test")
    if not isinstance(figures, Mapping) or not figures:
        return ""
    with contextlib.suppress(InputError, KeyError, TypeError, ValueError, AttributeError):
        if describe := find_task(task).describe_test:
            return str(describe(figures))
    return ", ".join(_show_figures(figures, metrics))


def find_tested(study: Study) -> int | None:
    """Return the number of the trial that the refit trained again, if it is not the best trial.

    With another metric than the study's own, another trial may be the best.
    """
    tested = (study.refit or {}).get("trial")
    is_best = study.best is not None and tested == study.best.number
    return tested if isinstance(tested, int) and not is_best else None


def describe_test_briefly(refit: Mapping[str, Any] | None, metrics: Sequence[Metric] = ()) -> str:
    """Return the first figure on the test part, as ``metrics`` show it; empty without a test."""
    figures = (refit or {}).get("test")
    return next(_show_figures(figures, metrics), "") if isinstance(figures, Mapping) else ""


def _show_figures(figures: Mapping[str, Any], metrics: Sequence[Metric]) -> Iterator[str]:
    """Yield each number with its name, as the metric of that name or label shows it."""
    for name, value in figures.items():
        if is_number(value):
            known = (metric for metric in metrics if name in (metric.name, metric.label))
            yield f"{name} {next(known, Metric(str(name))).show(value)}"


_SETTINGS = [s.name for s in STUDY_SETTINGS if s.name not in ("ordered", "W")]


def describe_commands(study: Study) -> tuple[str, str, str]:
    """Return the commands that repeat a study.

    Returns:
        The command that trains the best config, the command that runs the study again, and the
        content of the YAML file that the second one reads. All are empty if the study does not
        record its settings.
    """
    recorded = study.settings
    if "config" not in recorded or "data" not in recorded:
        return "", "", ""
    import yaml

    best = study.best
    try:
        base = build_config(upgrade_config(recorded["config"]), declaration=study.declare())
        trained = (
            build_config(study.config_of(best), best.best_point, declaration=base.declaration)
            if best
            else base
        )
    except InputError:  # written by a version with other keys
        return "", "", ""
    task = base.as_dict()["task"]
    own = [] if task in TASKS else ["--task", task]  # code runs only if a command names it
    train = ""
    if best:
        words = ["raytune-yesno", "train", *own, *(["--data", study.data] if study.data else [])]
        shown = {**list_changes(trained), **best.best_point, "seed": trained.seed}
        if own:
            del shown["task"]
        typed = not base.declaration.function
        for key, value in shown.items():
            is_text = isinstance(value, str) and (typed or key in EngineConfig.__dataclass_fields__)
            words += ["--set", f"{key}={value if is_text else write_typed(value)}"]
        train = " ".join(map(quote, words))
    config = list_changes(base)
    settings = {
        **({"data": study.data} if study.data else {}),
        "seed": base.seed,
        **{key: recorded[key] for key in _SETTINGS if recorded.get(key) not in (None, {}, [])},
        **({"ordered": True, "W": recorded["W"]} if recorded.get("ordered") else {}),
        **({"config": config} if config else {}),
        "space": recorded.get("space", {}),
    }
    file = yaml.safe_dump(settings, sort_keys=False, default_flow_style=None, width=1000)
    tune = " ".join(map(quote, ["raytune-yesno", "tune", *own, "--config", "study.yaml"]))
    if recorded.get("warm_start"):
        tune += " --warm-start STUDY…"
    return train, tune, file


def split_command(command: str) -> list[str]:
    """Return a command in parts that must not be broken: each option with its value."""
    parts: list[list[str]] = []
    for word in command.split(" "):
        if word.startswith("--") or not parts or not parts[-1][0].startswith("--"):
            parts.append([word])
        else:
            parts[-1].append(word)
    return [" ".join(part) for part in parts if part != [""]]


def list_changes(config: Config) -> dict[str, Any]:
    """Return the values, except the seed, that differ from the defaults of the task and model.

    A function's own keys have no other defaults than the values that a study gives them.
    """
    usual, values = build_config().as_dict(), config.as_dict()
    keys: list[str] = [key for key in ("task", "model") if key in values]
    named = {key: values[key] for key in keys if values[key] != usual[key]}
    defaults = build_config(named, declaration=config.declaration).as_dict()
    function = config.declaration.function
    given = function.declared["config"] if function else {}
    own = given.keys() - EngineConfig.__dataclass_fields__.keys()
    changed = {
        key: value for key, value in values.items() if key in own or value != defaults.get(key)
    }
    return {**named, **{key: value for key, value in changed.items() if key != "seed"}}
