"""Which trial ran on which slot, and when."""

from raytune_yesno.study import Study
from raytune_yesno.study.efficiency import assign_slots
from raytune_yesno.study.store import Event

Span = tuple[int, int, float, float, int]
"""Slot, trial, start and end in seconds since the study began without pauses, attempt."""


def build_timeline(study: Study) -> tuple[list[str], list[Span]]:
    """Return the names of the slots, and the spans in which trials ran on them.

    Every attempt has its spans, including epochs that a later attempt trained again. Pauses of the
    study are left out.
    """
    epochs = _list_epochs(study)
    slots = assign_slots(epochs, num_slots=study.num_slots, pauses=study.pauses)
    start = study.settings["time"]
    nodes = name_nodes(study)
    slots.sort(key=lambda slot: nodes[_node_key(slot[0])])  # slots of one node are neighbours
    names: list[str] = []
    spans: list[Span] = []
    for number, slot in enumerate(slots):
        on = dict.fromkeys(nodes[_node_key(epoch)] for epoch in slot)
        names.append(f"{' + '.join(on)} · slot {number + 1}")
        for epoch in sorted(slot, key=lambda epoch: float(epoch["began"])):
            began, ended = epoch["began"] - start, epoch["ended"] - start
            attempt = epoch.get("attempt", 1)
            last = spans[-1] if spans else None
            if last and last[0] == number and last[1] == epoch["trial"] and last[4] == attempt:
                spans[-1] = (*last[:3], ended, attempt)
            else:
                spans.append((number, epoch["trial"], began, ended, attempt))
    return names, spans


def list_pauses(study: Study) -> list[tuple[float, float]]:
    """Return each pause: seconds since the study began without pauses, and its length."""
    pauses = []
    before = 0.0
    for begun, stop in study.pauses:
        pauses.append((begun - study.settings["time"] - before, stop - begun))
        before += stop - begun
    return pauses


def name_nodes(study: Study) -> dict[tuple[str, str], str]:
    """Return the name of the machine behind each host name and node id of Ray.

    A restarted cluster has new node ids. Two ids of one host that were never in use at the same
    time are one machine, which has the host's name. If they were, their names have numbers.
    """
    used: dict[tuple[str, str], tuple[float, float]] = {}
    for epoch in _list_epochs(study):
        key, began, ended = _node_key(epoch), float(epoch["began"]), float(epoch["ended"])
        first, last = used.get(key, (began, ended))
        used[key] = min(first, began), max(last, ended)
    machines: dict[str, list[float]] = {}  # by host, when each machine was last in use
    numbers: dict[tuple[str, str], int] = {}
    for key, (began, ended) in sorted(used.items(), key=lambda item: item[1]):
        ends = machines.setdefault(key[0], [])
        free = (k for k, end in enumerate(ends) if end <= began)
        number = next(free, len(ends))
        ends[number : number + 1] = [ended]
        numbers[key] = number + 1
    return {
        key: key[0] if len(machines[key[0]]) == 1 else f"{key[0]} ({number})"
        for key, number in numbers.items()
    }


def _list_epochs(study: Study) -> list[Event]:
    return [e for trial in study.trial_list for e in (*trial.replaced, *trial.epochs)]


def _node_key(epoch: Event) -> tuple[str, str]:
    return epoch["host"], epoch.get("node", "")
