"""What tuning has gained over the settings without tuning."""

from raytune_yesno import pareto
from raytune_yesno.study import Study
from raytune_yesno.study.candidates import Candidate
from raytune_yesno.text import join_names


def describe_gain(study: Study) -> str:
    """Return what tuning has gained; empty if the settings without tuning have no result."""
    untuned = study.untuned
    if untuned is None:
        return ""
    best = study.candidates[0]
    settings = f"settings without tuning (trial {untuned.trial.number})"
    chosen, reached = f"the chosen point (trial {best.trial.number})", _describe(best)
    is_equal = (best.costs, best.excess) == (untuned.costs, untuned.excess)
    if is_equal and (others := len(study.front) - 1) > 0:
        each = f"Each of the {others} other members" if others > 1 else "The other member"
        return (
            f"The chosen compromise is that of the {settings}: {reached}. {each} of the front, "
            "which tuning found, is better in one objective and worse in another."
        )
    if untuned is best:
        return f"Tuning gained nothing: no trial is better than the {settings}, with {reached}."
    if is_equal:
        return f"Tuning gained nothing: the {settings} and {chosen} reached the same, {reached}."
    text = f"The {settings} reached {_describe(untuned)}; {chosen} reached {reached}."
    is_better = best.costs != untuned.costs and pareto.weakly_dominates(best.costs, untuned.costs)
    if is_better and len(best.results) < 2:
        text += (
            " The chosen point was trained once: part of the gain is luck. A final round tells how "
            "much."
        )
    return text


def _describe(candidate: Candidate) -> str:
    """Return a point's means in each objective, and the limits that it exceeds."""
    objective = candidate.trial.objective
    values = [
        f"{metric.title} {metric.show(metric.value_of(cost))}"
        for metric, cost in zip(objective.objectives, candidate.costs, strict=True)
    ]
    count = len(candidate.results)
    exceeded = [
        str(limit)
        for limit, excess in zip(objective.limits, candidate.excesses, strict=True)
        if excess > 0
    ]
    limits = "limit" if len(exceeded) == 1 else "limits"
    return (
        join_names(values)
        + f" (mean of {count} trainings)" * (count > 1)
        + (f", exceeding the {limits} {join_names(exceeded)}" if exceeded else "")
    )
