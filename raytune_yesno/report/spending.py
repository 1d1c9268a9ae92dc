"""What a study spent and what that brought: best so far, rungs, slots over time."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from scipy.stats import spearmanr

from raytune_yesno.study import Study
from raytune_yesno.study.efficiency import assign_slots
from raytune_yesno.study.store import Event

Curve = list[tuple[float, float]]


def trace_best(study: Study) -> dict[str, Curve]:
    """Return the best metric so far, where it improved and at the end, by ``trials`` (in the order
    of their numbers), ``seconds`` and ``epochs`` (of all trials together)."""
    judged = {trial.number for trial in study.ranking}
    epochs = sorted(
        (epoch for trial in study.trial_list for epoch in trial.epochs),
        key=lambda epoch: float(epoch["ended"]),
    )
    start = study.asked["time"]
    values = [epoch.get(study.metric) if epoch["trial"] in judged else None for epoch in epochs]
    paused = [
        sum(
            min(epoch["ended"], stop) - begun
            for begun, stop in study.pauses
            if epoch["ended"] > begun
        )
        for epoch in epochs
    ]
    seconds = [epoch["ended"] - start - pause for epoch, pause in zip(epochs, paused, strict=True)]
    bests = [
        trial.best_epoch[study.metric] if trial.number in judged and trial.best_epoch else None
        for trial in study.trial_list
    ]
    return {
        "trials": _improve(range(1, len(bests) + 1), bests, study.mode),
        "seconds": _improve(seconds, values, study.mode),
        "epochs": _improve(range(1, len(epochs) + 1), values, study.mode),
    }


def _improve(places: Iterable[float], values: Iterable[float | None], mode: str) -> Curve:
    steps: Curve = []
    place = None
    for place, value in zip(places, values, strict=True):
        if value is None:
            continue
        better = not steps or (value > steps[-1][1] if mode == "max" else value < steps[-1][1])
        if better:
            steps.append((place, value))
    if steps and place is not None and place > steps[-1][0]:
        steps.append((place, steps[-1][1]))
    return steps


@dataclass(frozen=True)
class Rung:
    """An epoch at which the scheduler ended trials.

    Attributes:
        epoch: which.
        reached, stopped: how many trials came to it, and how many of them ended there.
        best, worst_kept: the best metric there, and the worst of those that went on.
        agreement: Spearman's rank correlation of the metric there with the best one at the end,
            over the ``judged`` trials that ran to the end; None of fewer than five.
    """

    epoch: int
    reached: int
    stopped: int
    best: float | None
    worst_kept: float | None
    agreement: float | None
    judged: int


@dataclass(frozen=True)
class Spending:
    """Where the epochs went.

    Attributes:
        epochs: trained, by all trials together.
        whole: what all trials would have trained, had each run to the end.
        longest: epochs of a trial that runs to the end.
        stopped: trials that the scheduler ended early.
        rungs: where it did.
    """

    epochs: int
    whole: int
    longest: int
    stopped: int
    rungs: list[Rung]


def measure_spending(study: Study, most_rungs: int = 12) -> Spending:
    """Return where the epochs went; of many rungs, those where most trials ended."""
    trials = [trial for trial in study.trial_list if trial.epochs]
    stopped = [trial for trial in trials if trial.status == "stopped"]
    done = [trial for trial in trials if trial.status == "done"]
    counts: dict[int, int] = {}
    for trial in stopped:
        counts[trial.epochs[-1]["epoch"]] = counts.get(trial.epochs[-1]["epoch"], 0) + 1
    longest = int(study.asked.get("config", {}).get("epochs", 0)) or max(
        (len(trial.epochs) for trial in trials), default=0
    )
    kept = sorted(sorted(counts, key=lambda epoch: -counts[epoch])[:most_rungs])
    sign = -1 if study.mode == "max" else 1
    rungs = []
    for epoch in kept:
        there: dict[int, float] = {}
        for trial in trials:
            for record in trial.epochs:
                if record["epoch"] == epoch and record.get(study.metric) is not None:
                    there[trial.number] = record[study.metric]
        ended = {trial.number for trial in stopped if trial.epochs[-1]["epoch"] == epoch}
        on = [value for number, value in there.items() if number not in ended]
        pairs = [
            (there[trial.number], trial.best_epoch[study.metric])
            for trial in done
            if trial.number in there and trial.best_epoch
        ]
        rungs.append(
            Rung(
                epoch=epoch,
                reached=sum(trial.epochs[-1]["epoch"] >= epoch for trial in trials),
                stopped=len(ended),
                best=min(there.values(), key=lambda value: sign * value, default=None),
                worst_kept=max(on, key=lambda value: sign * value, default=None),
                agreement=_correlate(pairs),
                judged=len(pairs),
            )
        )
    return Spending(
        epochs=sum(len(trial.epochs) for trial in trials),
        whole=longest * len(trials),
        longest=longest,
        stopped=len(stopped),
        rungs=rungs,
    )


def _correlate(pairs: Sequence[tuple[float, float]]) -> float | None:
    if len(pairs) < 5 or any(len(set(column)) < 2 for column in zip(*pairs, strict=True)):
        return None
    return float(spearmanr([a for a, _ in pairs], [b for _, b in pairs]).statistic)


def lay_timeline(study: Study) -> tuple[list[str], list[tuple[int, int, float, float, int]]]:
    """Return the slots' names, and what ran on them: slot, trial, from and to in seconds since the
    study began, attempt. Pauses of the study are left out."""
    epochs = [epoch for trial in study.trial_list for epoch in trial.epochs]
    slots = assign_slots(epochs, num_slots=study.num_slots, pauses=study.pauses)
    start = study.asked["time"]
    nodes = name_nodes(study)
    # A node's slots stand together.
    slots.sort(key=lambda slot: nodes[_node_of(slot[0])])
    names: list[str] = []
    spans: list[tuple[int, int, float, float, int]] = []
    for number, slot in enumerate(slots):
        processes = dict.fromkeys(f"{nodes[_node_of(epoch)]} · {epoch['pid']}" for epoch in slot)
        more = f" + {len(processes) - 1}" if len(processes) > 1 else ""
        names.append(next(iter(processes)) + more)
        for epoch in sorted(slot, key=lambda epoch: float(epoch["began"])):
            began, ended = epoch["began"] - start, epoch["ended"] - start
            attempt = epoch.get("attempt", 1)
            last = spans[-1] if spans else None
            if last and last[0] == number and last[1] == epoch["trial"] and last[4] == attempt:
                spans[-1] = (*last[:3], ended, attempt)
            else:
                spans.append((number, epoch["trial"], began, ended, attempt))
    return names, spans


def name_nodes(study: Study) -> dict[tuple[str, str], str]:
    """Return a name for each node, by host and Ray's node: the host's, and a number where it ran
    several nodes."""
    nodes = dict.fromkeys(_node_of(epoch) for trial in study.trial_list for epoch in trial.epochs)
    by_host: dict[str, list[tuple[str, str]]] = {}
    for node in nodes:
        by_host.setdefault(node[0], []).append(node)
    return {
        node: host if len(found) == 1 else f"{host} ({number})"
        for host, found in by_host.items()
        for number, node in enumerate(found, start=1)
    }


def _node_of(epoch: Event) -> tuple[str, str]:
    return epoch["host"], epoch.get("node", "")
