"""The front of a study with several objectives: its members, its hypervolume, one choice from it.

The front holds the points that no other one dominates, of those that keep the limits. A point's
costs are those of its best epoch, or the means over its trainings.
"""

from collections.abc import Iterable, Sequence

from raytune_yesno import pareto
from raytune_yesno.metrics import Limit, Objective, read_limit
from raytune_yesno.study.candidates import Candidate, result_costs
from raytune_yesno.study.trial import RANKED, Trial


def find_members(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Return the members of the front, in the order of the first objective.

    If no point keeps the limits, these are the points of the least excess. If there was a final
    round, only its points count.

    Args:
        candidates: the points of a study, ordered by :attr:`Candidate.sort_key`.
    """
    leading = [each for each in candidates if each.standing[:2] == candidates[0].standing[:2]]
    front = pareto.find_front([each.costs for each in leading])
    return sorted((leading[index] for index in front), key=lambda each: each.costs)


def choose(front: Sequence[Candidate], prefer: str | None) -> Candidate:
    """Return the member of a front to train again.

    Args:
        front: the members, at least one.
        prefer: a limit, ``NAME<=VALUE``: the best member in the first objective that keeps it, or
            the one nearest to it; None for the knee, see :func:`raytune_yesno.pareto.find_knee`.
    """
    if not prefer:
        return front[pareto.find_knee([each.costs for each in front])]
    limit = read_preference(prefer, front[0].trial.objective)
    return min(front, key=lambda each: (max(each.excess_over(limit), 0.0), each.costs))


def read_preference(text: str, objective: Objective) -> Limit:
    """Read the limit of ``prefer``.

    Raises:
        InputError: it is no limit, or its metric is unknown.
    """
    return read_limit(text, objective.metrics, where="prefer")


def arrange(candidates: Sequence[Candidate], prefer: str | None) -> list[Candidate]:
    """Return candidates with the chosen one first, then the rest of the front, then the others."""
    front = find_members(candidates)
    if not front:
        return list(candidates)
    chosen = choose(front, prefer)
    members = {id(each) for each in front}
    return [
        chosen,
        *(each for each in front if each is not chosen),
        *(each for each in candidates if id(each) not in members),
    ]


def order_trials(trials: Sequence[Trial]) -> list[Trial]:
    """Return trials in the order in which a few of them stand for all.

    Args:
        trials: trials with a result, the best in the first objective first, those that keep all
            limits before the others.

    Returns:
        With one objective, the same order. With several, any number of trials from the beginning is
        spread over the front, see :func:`raytune_yesno.pareto.order`.
    """
    if not trials or not trials[0].objective.others:
        return list(trials)
    leading = [trial for trial in trials if trial.is_feasible]
    order = pareto.order([result_costs(trial) for trial in leading])
    return [*(leading[index] for index in order), *trials[len(leading) :]]


def list_vectors(trials: Iterable[Trial]) -> list[tuple[float, ...]]:
    """Return the costs of the trials with a result that keep the limits, in their order."""
    return [result_costs(trial) for trial in trials if _has_ended(trial) and trial.is_feasible]


def _has_ended(trial: Trial) -> bool:
    """Return whether a trial ended with a result.

    Repeats do not count: the best of several trainings of a point would be luck.
    """
    return trial.status in RANKED and not trial.outside and trial.repeat_of is None


def measure_hypervolume(trials: Iterable[Trial]) -> tuple[float, tuple[float, ...]]:
    """Return the hypervolume of the front, and the reference point, both in costs.

    The reference point is the worst result of each objective and 10 % of the range of the results,
    see :func:`raytune_yesno.pareto.choose_reference`. Two studies are compared at one reference
    point only.
    """
    vectors = list_vectors(trials)
    reference = pareto.choose_reference(vectors)
    return pareto.hypervolume(vectors, reference) if reference else 0.0, reference


def trace_hypervolume(
    trials: Sequence[Trial], reference: Sequence[float] = ()
) -> list[tuple[int, int, float]]:
    """Return the number of ended trials, the epochs trained in all, and the hypervolume so far.

    There is one row for each trial with a result, in the order in which they ended. A trial's
    epochs count up to its end; those of trials that were still running do not. Trials outside a
    changed space have no row.

    Args:
        trials: the trials of a study.
        reference: the reference point; that of :func:`measure_hypervolume` by default.
    """
    reference = reference or measure_hypervolume(trials)[1]
    ended = [trial for trial in trials if trial.epochs and _has_ended(trial)]
    ended.sort(key=lambda trial: (trial.epochs[-1]["ended"], trial.number))
    front: list[tuple[float, ...]] = []
    rows, epochs, volume = [], 0, 0.0
    for count, trial in enumerate(ended, start=1):
        epochs += len(trial.epochs)
        if reference and trial.is_feasible:
            costs = result_costs(trial)
            if not any(pareto.weakly_dominates(each, costs) for each in front):
                volume += pareto.exclusive_volume(costs, front, reference)
                front = [each for each in front if not pareto.weakly_dominates(costs, each)]
                front.append(costs)
        rows.append((count, epochs, volume))
    return rows
