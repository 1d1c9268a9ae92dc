"""Common questions about a study, each with a short answer and its uncertainty."""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from raytune_yesno import pareto
from raytune_yesno.metrics import Metric
from raytune_yesno.report.early_stopping import EarlyStopping
from raytune_yesno.report.importance import Importance
from raytune_yesno.report.luck import describe_luck
from raytune_yesno.report.sentences import (
    NO_RESULT,
    describe_mean,
    describe_time,
    judge_early_stopping,
)
from raytune_yesno.report.study_groups import (
    MIN_REPEATS,
    Difference,
    Group,
    choose_figure,
    describe_budgets,
    describe_different_limits,
    describe_incomparable,
    find_best,
    have_common_front,
    name_mean,
)
from raytune_yesno.report.tuning_gain import describe_gain
from raytune_yesno.study import Study
from raytune_yesno.study.front import list_vectors
from raytune_yesno.text import join_names, plural

MIN_TRIALS_TO_EXTRAPOLATE = 8
_HALVES = 50  # random halves of the trials
MAX_P = 0.05
"""The largest p-value at which chance is an unlikely explanation."""


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
    return Answer(question, " ".join(judge_early_stopping(stopping)), section)


def answer_gain(study: Study) -> list[Answer]:
    """Say what tuning has gained; nothing if the study has no result of the untuned settings."""
    text = describe_gain(study)
    return [Answer("What did tuning gain?", text, "outcome")] if text else []


def answer_more_trials(study: Study) -> Answer:
    """Say what the last doubling of the number of trials brought.

    The distribution of the best of a random half of the trials is computed exactly: the k-th best
    trial is the best of the half with the probability of a draw without replacement. Half of all
    halves contain the best trial, so the median says nothing; the mean gain does. Only trials that
    keep the limits count.
    """
    question, section = "Would more trials help?", "progress"
    if study.objective.others:
        return Answer(question, answer_more(study), "front")
    ranking = [trial for trial in study.ranking if trial.is_feasible]
    total, half = len(ranking), len(ranking) // 2
    if total < MIN_TRIALS_TO_EXTRAPOLATE:
        return Answer(question, _say_too_few(study, total), section)
    values = [trial.metrics[study.metric] for trial in ranking]
    best = values[0]
    chance, passed, gain = half / total, 0.0, 0.0
    large: float | None = None
    for rank, value in enumerate(values[: total - half + 1]):
        passed += chance
        gain += chance * min(1.0, abs(value - best) / max(abs(value), 1e-300))
        if large is None and passed >= 0.9 - 1e-12:
            large = value
        chance *= (total - rank - half) / (total - rank - 1)
    verdict = "Likely." if gain > 0.05 else "Perhaps." if gain > 0.01 else "Unlikely."
    show = study.objective.metric.show
    text = (
        f"{verdict} The best {study.objective.metric.title} is {show(best)}. It improves on the "
        f"best of a random half of the trials by {gain:.1%} on average; one such half in ten "
        f"reaches only {show(large)} or worse. Doubling the trials rarely gains more than this "
        "last doubling did."
    )
    return Answer(question, text, section)


def _say_too_few(study: Study, count: int) -> str:
    """Return that ``count`` trials, of those with a result that keep the limits, are too few."""
    if (total := len(study.ranking)) > count:
        return (
            f"Cannot tell: {count} of {plural(total, 'trial')} with a result keep the limits. "
            f"At least {MIN_TRIALS_TO_EXTRAPOLATE} are needed."
        )
    return (
        f"Cannot tell: only {plural(count, 'trial')} with a result. Run at least "
        f"{MIN_TRIALS_TO_EXTRAPOLATE}."
    )


def answer_more(study: Study) -> str:
    """Return what the last doubling of the number of trials brought to the front."""
    vectors = list_vectors(study.trial_list)
    whole, reference = study.hypervolume
    if len(vectors) < MIN_TRIALS_TO_EXTRAPOLATE or not whole:
        return _say_too_few(study, len(vectors))
    generator = np.random.default_rng(0)
    orders = [generator.permutation(len(vectors))[: len(vectors) // 2] for _ in range(_HALVES)]
    halves = [[vectors[index] for index in order] for order in orders]
    shares = sorted(pareto.hypervolume(half, reference) / whole for half in halves)
    typical, low = shares[_HALVES // 2], shares[_HALVES // 10]
    verdict = "Likely." if typical < 0.97 else "Perhaps." if low < 0.95 else "Unlikely."
    return (
        f"{verdict} A random half of the trials reaches {typical:.0%} of the hypervolume in the "
        f"median, and {low:.0%} or less in one case of ten. Doubling the trials rarely gains more "
        "than this last doubling did."
    )


def name_objective(study: Study, *answers: Answer) -> list[Answer]:
    """Return answers that are about one objective; with several, they name it, the first one."""
    if not study.objective.others:
        return list(answers)
    name = study.objective.metric.title
    return [answer._replace(question=f"{answer.question[:-1]} for {name}?") for answer in answers]


def answer_luck(study: Study) -> list[Answer]:
    """Say how much of the search's best result was luck; nothing without a final round."""
    text = describe_luck(study)
    return [Answer("Is the best result real?", text, "outcome")] if text else []


def answer_time(study: Study) -> Answer:
    """Say what share of the slots' time was training, and what most of the rest was."""
    return Answer("Where did the time go?", describe_time(study), "time")


def describe_studies(
    studies: Sequence[Study],
    names: Sequence[str],
    groups: Sequence[Group],
    differences: Sequence[Difference],
) -> list[str]:
    """Return what several studies say together: the best trial, the best search, and doubts."""
    metric = studies[0].objective.metric
    trials = sum(len(study.trial_list) for study in studies)
    counted = f"{len(studies)} studies with {plural(trials, 'trial')}."
    if why := describe_incomparable(studies):
        return [counted, why]
    texts = [f"{counted} {NO_RESULT}"]
    if (first := find_best(studies)) is not None and (best := studies[first].best):
        value, chosen = metric.show(best.metrics[metric.name]), studies[first].candidates[0]
        which = "The best trial of all is"
        if chosen.excess:
            which = "No trial keeps the limits; the one that exceeds them least is"
        texts = [
            f"{counted} "
            + (
                describe_common_front(studies, names)
                if have_common_front(studies)
                else f"{which} trial {best.number} of {names[first]}: "
                f"{metric.title} {value}{describe_mean(chosen)}."
            )
        ]
        limited = any(study.objective.limits for study in studies)
        figure = choose_figure(studies)
        texts.append(
            describe_different_limits(studies)
            or describe_comparison(groups, differences, figure, limited=limited)
        )
        texts.append(describe_budgets(studies))
    return [text for text in texts if text]


def describe_common_front(studies: Sequence[Study], names: Sequence[str]) -> str:
    """Return how many trials of each study are on the front of all studies together.

    Trials with equal results are all on it, so that the order of the studies does not matter.
    """
    rows = [
        (vector, name)
        for study, name in zip(studies, names, strict=True)
        for vector in list_vectors(study.trial_list)
    ]
    members = {rows[index][0] for index in pareto.find_front([vector for vector, _ in rows])}
    front = Counter(name for vector, name in rows if vector in members)
    if not front:
        return "No trial keeps the limits and has all objectives."
    shares = ", ".join(f"{count} of {name}" for name, count in front.most_common())
    return (
        f"The front of all studies together has {front.total()} trials: {shares}. Hypervolumes "
        "here have one reference point."
    )


def describe_comparison(
    groups: Sequence[Group],
    differences: Sequence[Difference],
    metric: Metric,
    *,
    limited: bool = False,
) -> str:
    """Return which search was best, whether chance explains its lead, and what would tell.

    It is empty if no group has a figure. Groups with studies without one are not ranked.
    """
    if all(group.mean is None for group in groups):  # no trial keeps the limits
        return ""
    nothing = "no point that keeps the limits" if limited else "no result"
    texts = [
        f"{group.label} is not ranked: {group.num_without} of its {len(group.members)} "
        f"{'study' if len(group.members) == 1 else 'studies'} found {nothing}."
        for group in groups
        if group.num_without
    ]
    return " ".join((*texts, _rank_groups(groups, differences, metric))).rstrip()


def _rank_groups(groups: Sequence[Group], differences: Sequence[Difference], metric: Metric) -> str:
    comparable = [group for group in groups if group.mean is not None and not group.num_without]
    if not comparable:
        return ""
    sign = -1 if metric.mode == "max" else 1
    ranked = sorted(comparable, key=lambda group: sign * (group.mean or 0.0))
    best = ranked[0]
    runs = len(best.bests)
    figure = f"best {metric.title} {metric.show(best.mean)}"
    figure += f" ({name_mean(groups)} of {runs} studies)" if runs > 1 else ""
    if best.interval:
        figure += f", 95% interval {' to '.join(map(metric.show, best.interval))}"
    if len(ranked) < 2:
        if any(group.num_without for group in groups):
            return f"{best.label}: {figure}."
        return (
            f"All studies with a result are of one search, {best.label}: {figure}. Add studies "
            f"of another search to compare, with at least {MIN_REPEATS} seeds each."
        )
    second = ranked[1]
    if best.mean == second.mean:
        return f"No search was best: {best.label} and {second.label} are equal ({figure})."
    text = f"{best.label} was best: {figure}; next is {second.label} ({metric.show(second.mean)}). "
    pair = {best.label, second.label}
    test = next((each for each in differences if {each.first, each.second} == pair), None)
    if test is None:
        return text + (
            f"The lead may be chance. Repeat each search with at least {MIN_REPEATS} seeds to tell."
        )
    if test.adjusted < MAX_P:
        text += f"Chance is unlikely to explain the lead (p = {test.adjusted:.2g}). "
    elif test.min_p >= MAX_P:
        text += (
            f"There are too few studies to tell the lead from chance: p is {test.adjusted:.2g} "
            f"and cannot be below {test.min_p:.2g}. Repeat each search with more seeds. "
        )
    else:
        text += f"Chance may explain the lead (p = {test.adjusted:.2g}). "
    return text + (
        "p is the probability of a difference at least as large if the studies were assigned to "
        "the searches at random."
    )


def judge_difference(difference: Difference) -> str:
    """Return whether chance may explain a difference."""
    if difference.adjusted < MAX_P:
        return "unlikely"
    return "too few studies to tell" if difference.min_p >= MAX_P else "possible"
