"""Which trial ran on which slot, and when."""

from raytune_yesno.study import Study
from raytune_yesno.study.efficiency import assign_slots
from raytune_yesno.study.store import Event

Span = tuple[int, int, float, float, int]
"""Slot, trial, start and end in seconds since the study began, attempt."""


def build_timeline(study: Study) -> tuple[list[str], list[Span]]:
    """Return the names of the slots, and the spans in which trials ran on them.

    Pauses of the study are left out.
    """
    epochs = [epoch for trial in study.trial_list for epoch in trial.epochs]
    slots = assign_slots(epochs, num_slots=study.num_slots, pauses=study.pauses)
    start = study.asked["time"]
    nodes = name_nodes(study)
    slots.sort(key=lambda slot: nodes[_node_key(slot[0])])  # slots of one node are neighbours
    names: list[str] = []
    spans: list[Span] = []
    for number, slot in enumerate(slots):
        processes = dict.fromkeys(f"{nodes[_node_key(epoch)]} · {epoch['pid']}" for epoch in slot)
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
    """Return a name for each node, by host name and Ray's node id.

    The name is the host name, with a number if the host ran several nodes.
    """
    nodes = dict.fromkeys(_node_key(epoch) for trial in study.trial_list for epoch in trial.epochs)
    by_host: dict[str, list[tuple[str, str]]] = {}
    for node in nodes:
        by_host.setdefault(node[0], []).append(node)
    return {
        node: host if len(found) == 1 else f"{host} ({number})"
        for host, found in by_host.items()
        for number, node in enumerate(found, start=1)
    }


def _node_key(epoch: Event) -> tuple[str, str]:
    return epoch["host"], epoch.get("node", "")
