"""Write studies of given results, to test what reports say of them."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from raytune_yesno.study import Study, load
from raytune_yesno.study.store import StudyStore


def write_results(
    folder: Path,
    trials: Sequence[Mapping[str, Any]],
    *,
    metrics: Sequence[str] = ("loss",),
    config: Mapping[str, Any] | None = None,
    between: Mapping[int, Iterable[Mapping[str, Any]]] | None = None,
    ended: bool = True,
    **settings: Any,
) -> Study:
    """Write a study whose trials have one epoch of a second each, one after another.

    Args:
        folder: its folder, which does not exist.
        trials: the trials by number, each a mapping with its ``metrics``, and if needed with
            ``point``, ``repeat_of``, ``seed``, ``final`` and ``status``.
        metrics: the declared metrics, all minimised.
        config: keys of the config.
        between: events that precede the trial of a number.
        ended: whether the search has ended.
        settings: fields of the first event.
    """
    store = StudyStore(folder)
    first: dict[str, Any] = {
        "metrics": [{"name": name} for name in metrics],
        "config": {"epochs": 1, "seed": 0, "task": "sine", **(config or {})},
        "space": {},
        "data": "",
        "corpus": {},
        "slots": 1,
        "search": "random",
        "scheduler": "fifo",
        "trials": len(trials),
    }
    store.append("study", time=0.0, **{**first, **settings})
    time = 1.0
    for number, trial in enumerate(trials):
        for event in (between or {}).get(number, ()):
            fields = dict(event)
            store.append(fields.pop("event"), time=time, **fields)
        told = {key: trial[key] for key in ("repeat_of", "seed", "final") if key in trial}
        store.append("asked", time=time, trial=number, point=trial.get("point", {"x": 0}), **told)
        store.append("started", time=time, trial=number, attempt=1)
        spent = {"seconds": 1.0, "began": time, "ended": time + 1, "host": "here", "pid": 1}
        time += 1
        values = {"epoch": 1, "attempt": 1, **spent, **trial["metrics"]}
        store.append("epoch", time=time, trial=number, **values)
        store.append("ended", time=time, trial=number, status=trial.get("status", "done"))
    if ended:
        store.append("searched", time=time)
    return load(folder)
