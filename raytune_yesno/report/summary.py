"""Five common questions about a study, each with a short answer and its uncertainty."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from scipy.stats import norm

from raytune_yesno.report.compare import Difference, Group, name_mean
from raytune_yesno.report.early_stopping import MIN_JUDGED, EarlyStopping
from raytune_yesno.report.importance import Importance
from raytune_yesno.report.sentences import CAUSES, join_names
from raytune_yesno.study import Study

MIN_TRIALS_TO_EXTRAPOLATE = 8


class Answer(NamedTuple):
    """An answer on the page.

    Attributes:
        question: the question.
        text: the answer.
        section: id of the page's section with the details.
    """

    question: str
    text: str
    section: str


def answer_importance(found: Importance) -> Answer:
    """Say which hyperparameters mattered, and how certain that is."""
    clear = [
        f"{name} ({mean:.2f} ± {spread:.2f})"
        for name, mean, spread in zip(found.names, found.means, found.spreads, strict=True)
        if name in found.clear[:3]
    ]
    if found.refused:
        text = f"Cannot tell: {found.refused}."
    elif clear:
        text = (
            f"{join_names(clear)}. Chance explains values up to {found.chance_level:.2f} "
            f"({found.num_trials} trials)."
        )
    else:
        text = (
            f"Cannot tell: no hyperparameter exceeds the {found.chance_level:.2f} that chance "
            f"explains ({found.num_trials} trials). Run more trials."
        )
    return Answer("Which hyperparameters mattered?", text, "importance")


def answer_early_stopping(stopping: EarlyStopping) -> Answer:
    """Say whether the first rung that can be judged predicted the final order."""
    question, section = "Was early stopping right?", "spending"
    if not stopping.stopped:
        return Answer(question, "No trial was stopped early.", section)
    saved = f"It saved {stopping.saved:.0%} of the epochs"
    rung = next((rung for rung in stopping.rungs if rung.agreement is not None), None)
    if rung is None or rung.agreement is None:
        text = (
            f"Cannot tell: too few trials ran to the end. At least {MIN_JUDGED} with different "
            f"results are needed. {saved}."
        )
        return Answer(question, text, section)
    low, high = bound_correlation(rung.agreement, rung.judged)
    verdict = "Yes." if low > 0.3 else "No." if high < 0.3 else "Perhaps."
    text = (
        f"{verdict} {saved}. The order of the trials at epoch {rung.epoch} has a rank correlation "
        f"of {rung.agreement:.2f} with the final order (95% interval {low:.2f} to {high:.2f}; "
        f"1 is perfect, 0 is chance), over the {rung.judged} trials that ran to the end."
    )
    return Answer(question, text, section)


def answer_more_trials(study: Study) -> Answer:
    """Say what the last doubling of the number of trials brought.

    The distribution of the best of a random half of the trials is computed exactly: the k-th best
    trial is the best of the half with the probability of a draw without replacement.
    """
    question, section = "Would more trials help?", "progress"
    ranking = study.ranking
    total, half = len(ranking), len(ranking) // 2
    if total < MIN_TRIALS_TO_EXTRAPOLATE:
        text = (
            f"Cannot tell: {total} trials with a result are too few. Run at least "
            f"{MIN_TRIALS_TO_EXTRAPOLATE}."
        )
        return Answer(question, text, section)
    values = [trial.metrics[study.metric] for trial in ranking]
    best = values[0]
    gains = [abs(value - best) / max(abs(value), 1e-300) for value in values]
    chance, passed = half / total, 0.0
    quantiles: dict[float, float] = {}
    for rank, gain in enumerate(gains):
        passed += chance
        for wanted in (0.5, 0.9):
            if passed >= wanted - 1e-12:
                quantiles.setdefault(wanted, gain)
        if len(quantiles) == 2:
            break
        chance *= (total - rank - half) / (total - rank - 1)
    typical, large = quantiles.get(0.5, 0.0), quantiles.get(0.9, 0.0)
    verdict = "Likely." if typical > 0.01 else "Perhaps." if large > 0.1 else "Unlikely."
    text = (
        f"{verdict} With half as many trials, the best {study.metric} would have been at least "
        f"{typical:.1%} worse in 50% of cases and at least {large:.1%} worse in 10%. The next "
        "doubling rarely brings more than the last one did."
    )
    return Answer(question, text, section)


def answer_comparison(
    groups: Sequence[Group], differences: Sequence[Difference], metric: str, mode: str
) -> Answer:
    """Say which search was best, and whether chance explains its lead."""
    question = "Which search was best?"
    comparable = [group for group in groups if group.mean is not None]
    if len(comparable) < 2:
        text = (
            "Cannot tell: the report has results of one search only. Give `report` studies of "
            "other searches too, each with at least 4 seeds."
        )
        return Answer(question, text, "outcome")
    sign = -1 if mode == "max" else 1
    best, second = sorted(comparable, key=lambda group: sign * (group.mean or 0.0))[:2]
    repeats = len(best.bests)
    text = f"{best.label}: best {metric} {best.mean:.4g}"
    if repeats > 1:
        text += f" ({name_mean(groups)} of {repeats} studies)"
    if best.interval:
        text += ", 95% interval {:.4g} to {:.4g}".format(*best.interval)
    pair = {best.label, second.label}
    test = next((each for each in differences if {each.first, each.second} == pair), None)
    if test is None:
        text += ". This may be chance. Repeat each search with at least 4 seeds."
    elif test.adjusted < 0.05:
        text += f". Chance is unlikely to explain its lead over {second.label}"
        text += f" (p = {test.adjusted:.2g})."
    elif (min_p := min(1.0, test.min_p * len(differences))) >= 0.05:
        text += (
            f". There are too few studies to tell its lead over {second.label} from chance "
            f"(p = {test.adjusted:.2g}; at this number of studies p cannot be below {min_p:.2g})."
        )
    else:
        text += f". Chance may explain its lead over {second.label} (p = {test.adjusted:.2g})."
    return Answer(question, text, "compare")


def answer_time(study: Study) -> Answer:
    """Say what share of the slots' time was training, and what most of the rest was."""
    question = "Where did the time go?"
    efficiency = study.efficiency
    if efficiency is None:
        return Answer(question, "No trial has trained yet.", "time")
    rest = {cause: getattr(efficiency, cause) for cause in CAUSES if cause != "efficiency"}
    largest = max(rest, key=lambda cause: rest[cause])
    slots = f"{study.num_slots} slot{'s' * (study.num_slots != 1)}"
    text = (
        f"{efficiency.efficiency:.1%} of the time of {slots} was training. The largest other part "
        f"was {CAUSES[largest]} ({rest[largest]:.1%})."
    )
    return Answer(question, text, "time")


def bound_correlation(correlation: float, count: int) -> tuple[float, float]:
    """Return the 95% interval of a rank correlation (Bonett and Wright 2000)."""
    clipped = max(-0.999999, min(0.999999, correlation))
    error = math.sqrt((1 + clipped**2 / 2) / max(1, count - 3))
    half = float(norm.ppf(0.975)) * error
    return math.tanh(math.atanh(clipped) - half), math.tanh(math.atanh(clipped) + half)
