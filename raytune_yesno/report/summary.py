"""Five questions that everybody asks of a study, each answered in a sentence, with its doubt."""

import math
from collections.abc import Sequence

from scipy.stats import norm

from raytune_yesno.report.compare import Difference, Group, name_mean
from raytune_yesno.report.early_stopping import EarlyStopping
from raytune_yesno.report.importance import Importance
from raytune_yesno.report.sentences import CAUSES, join_names
from raytune_yesno.study import Study

Answer = tuple[str, str, str]
"""A question, its answer, and the page's section that shows why."""


def answer_importance(found: Importance) -> Answer:
    """Say which hyperparameters mattered, and how sure that is."""
    if found.refused:
        text = f"Not told: {found.refused}."
    else:
        figures = dict(zip(found.names, zip(found.means, found.spreads, strict=True), strict=True))
        told = ["{} ({:.2f} ± {:.2f})".format(name, *figures[name]) for name in found.clear[:3]]
        which = (
            f"{join_names(told)}, beyond the {found.luck:.2f} that luck brings,"
            if told
            else f"No single one: none goes beyond the {found.luck:.2f} that luck brings"
        )
        text = f"{which} in {found.num_trials} trials."
    return ("Which hyperparameter mattered?", text, "importance")


def answer_stopping(spent: EarlyStopping) -> Answer:
    """Say whether the first rung that can be judged foretold the end."""
    question = "Was early stopping right?"
    if not spent.stopped:
        return (question, "No trial was stopped early, so there is nothing to judge.", "spending")
    saved = f"it saved {1 - spent.epochs / spent.full_epochs:.0%} of the epochs"
    rung = next((rung for rung in spent.rungs if rung.agreement is not None), None)
    if rung is None or rung.agreement is None:
        text = f"Not told: {saved}, but too few trials ran to the end to judge it by."
        return (question, text, "spending")
    low, high = bound_correlation(rung.agreement, rung.judged)
    verdict = "Yes" if low > 0.3 else "No" if high < 0.3 else "Perhaps"
    text = (
        f"{verdict}: {saved}, and the order at epoch {rung.epoch} agrees with that at the end by "
        f"{rung.agreement:.2f} (95 % interval {low:.2f} to {high:.2f}; 1 is perfect, 0 is chance), "
        f"over the {rung.judged} trials that ran on."
    )
    return (question, text, "spending")


def answer_more_trials(study: Study) -> Answer:
    """Say what the last doubling of the trials brought, whatever the order they came in.

    The best of a random half of the trials is known exactly: that it is the k-th best of all has
    the probability of a draw without replacement.
    """
    question = "Would more trials help?"
    ranking = study.ranking
    total, half = len(ranking), len(ranking) // 2
    if total < 8:
        return (question, f"Not told: {total} trials with a result are too few.", "progress")
    values = [trial.metrics[study.metric] for trial in ranking]
    best = values[0]
    gains = [abs(value - best) / max(abs(value), 1e-300) for value in values]
    chance, passed = half / total, 0.0
    quantiles: dict[float, float] = {}
    for place, gain in enumerate(gains):
        passed += chance
        for wanted in (0.5, 0.9):
            if passed >= wanted - 1e-12:
                quantiles.setdefault(wanted, gain)
        if len(quantiles) == 2:
            break
        chance *= (total - place - half) / (total - place - 1)
    typical, most = quantiles.get(0.5, 0.0), quantiles.get(0.9, 0.0)
    verdict = "Likely" if typical > 0.01 else "Perhaps" if most > 0.1 else "Hardly"
    half_the_time = f"{typical:.1%} worse or more" if typical else "as good"
    text = (
        f"{verdict}: with half as many trials the best {study.metric} would have been "
        f"{half_the_time} in one case of two, {most:.1%} worse or more in one of ten. Twice as "
        "many rarely bring more than the last doubling did."
    )
    return (question, text, "progress")


def answer_comparison(
    groups: Sequence[Group], differences: Sequence[Difference], metric: str, mode: str
) -> Answer:
    """Say which search was better, and whether that is luck."""
    question = "Which algorithm was better, and is that luck?"
    able = [group for group in groups if group.mean is not None]
    if len(able) < 2:
        text = (
            "Not told by studies of one search: give `report` others, too, each with 4 seeds or "
            "more."
        )
        return (question, text, "outcome")
    sign = -1 if mode == "max" else 1
    ranked = sorted(able, key=lambda group: sign * (group.mean or 0.0))
    best, second = ranked[0], ranked[1]
    text = f"{best.label}, whose best {metric} is {best.mean:.4g} in the {name_mean(groups)}"
    if best.interval:
        text += " (95 % interval {:.4g} to {:.4g})".format(*best.interval)
    pair = {best.label, second.label}
    test = next((each for each in differences if {each.first, each.second} == pair), None)
    if test is None:
        text += "; that may be luck: it takes two studies or more of each to tell."
    elif test.adjusted < 0.05:
        text += f"; that it beats {second.label} is hardly luck (p {test.adjusted:.2g})."
    elif test.least_p * len(differences) >= 0.05:
        text += (
            f"; too few studies to tell its lead on {second.label} from luck (p "
            f"{test.adjusted:.2g}, which could not be below "
            f"{min(1.0, test.least_p * len(differences)):.2g})."
        )
    else:
        text += f"; its lead on {second.label} may be luck (p {test.adjusted:.2g})."
    return (question, text, "compare")


def answer_time(study: Study) -> Answer:
    """Say what share of the slots' time was training, and what took most of the rest."""
    question = "Where did the time go?"
    efficiency = study.efficiency
    if efficiency is None:
        return (question, "Nothing has run yet.", "time")
    rest = {cause: getattr(efficiency, cause) for cause in CAUSES if cause != "efficiency"}
    worst = max(rest, key=lambda cause: rest[cause])
    text = (
        f"{efficiency.efficiency:.1%} of the slots' time ({study.num_slots} of them) was "
        f"training; most of the rest, {rest[worst]:.1%}, was {CAUSES[worst]}."
    )
    return (question, text, "time")


def bound_correlation(correlation: float, count: int) -> tuple[float, float]:
    """Return the 95 % interval of a rank correlation (Bonett and Wright 2000)."""
    clipped = max(-0.999999, min(0.999999, correlation))
    error = math.sqrt((1 + clipped**2 / 2) / max(1, count - 3))
    half = float(norm.ppf(0.975)) * error
    return math.tanh(math.atanh(clipped) - half), math.tanh(math.atanh(clipped) + half)
