"""The final round: train the best points of a search again, with new seeds.

Its results played no part in choosing the points, so their means are not flattered by luck. No
scheduler stops its trials. A seed also determines the validation part of a task that draws one.
"""

import itertools

from raytune_yesno.pareto import positions
from raytune_yesno.study import Study, load
from raytune_yesno.study.store import StudyStore
from raytune_yesno.tuning.plan import Plan
from raytune_yesno.tuning.searcher import draw_seeds


def ask_final_round(study: Study, plan: Plan, store: StudyStore, **reason: str) -> Study:
    """Record the finalists, unless the study has them, and their trials that are not recorded yet.

    Args:
        study: the study, whose search has ended.
        plan: its plan, with a final round.
        store: where the events are recorded.
        **reason: ``reason``, why the search ended before its last trial, if it did.

    Returns:
        The study with them.
    """
    finalists = study.finalists
    if finalists is None:
        finalists = choose_finalists(study, plan.final_round["points"])
        store.append("final", points=finalists, first=_next_number(study), **reason)
    points = {trial.number: trial.point for trial in study.trial_list}
    first_number = _next_number(study) if study.final_from is None else study.final_from
    used = {
        trial.seed
        for trial in study.trial_list
        if trial.repeat_of in finalists and trial.seed is not None and trial.number < first_number
    }
    seeds = itertools.islice(draw_seeds(plan.config.seed, used), plan.final_round["seeds"])
    pairs = [(seed, first) for seed in seeds for first in finalists]
    for number, (seed, first) in enumerate(pairs, start=first_number):
        if number not in points:
            store.append(
                "asked",
                trial=number,
                point=points[first],
                repeat_of=first,
                seed=seed,
                final=True,
            )
    return load(study.path)


def choose_finalists(study: Study, count: int) -> list[int]:
    """Return the first trials of the best points.

    The winner so far is among them, unless it was the only one in an earlier final round and there
    is no room for another. Points that keep the limits precede the others; of several objectives,
    the front comes first.
    """
    winner = [each for each in study.candidates[:1] if count > 1 or not each.finals]
    others = sorted(study.candidates[len(winner) :], key=lambda each: each.trial.number)
    order = positions([each.costs for each in others])
    ranked = sorted(zip(others, order, strict=True), key=lambda pair: (pair[0].excess, pair[1]))
    chosen = [*winner, *(each for each, _ in ranked)]
    return [candidate.trial.number for candidate in chosen[:count]]


def _next_number(study: Study) -> int:
    return max((trial.number for trial in study.trial_list), default=-1) + 1
