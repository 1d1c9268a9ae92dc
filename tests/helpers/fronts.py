"""A recorded study of two objectives."""

from pathlib import Path

from raytune_yesno.study import Study, load
from raytune_yesno.study.store import StudyStore

# Accuracy (to maximise) and size of each trial.
RESULTS = ((0.5, 10), (0.9, 1000), (0.8, 100), (0.7, 100), (0.91, 9000), (0.6, 500))


def write_front(folder: Path, results=RESULTS, repeats=(), limits=(), **settings) -> Study:
    store = StudyStore(folder)
    metrics = [{"name": "accuracy", "mode": "max"}, {"name": "size", "mode": "min"}]
    config = {"epochs": 2, "objectives": ["accuracy", "size"], "limits": list(limits)}
    given = {"search": "auto", "trials": len(results), "slots": 1, **settings}
    store.append("study", time=0.0, metrics=metrics, config=config, space={}, data="", **given)
    everything = [*((result, None) for result in results), *repeats]
    for number, ((accuracy, size), first) in enumerate(everything):
        again = {} if first is None else {"repeat_of": first, "seed": number}
        store.append("asked", time=1.0, trial=number, point={"x": number}, **again)
        store.append("started", time=1.0, trial=number, attempt=1)
        for epoch, value in ((1, accuracy - 0.1), (2, accuracy)):
            times = {"time": 2.0, "began": 1.0, "ended": 2.0 + number, "seconds": 1.0}
            where = {"host": "here", "pid": 1, "attempt": 1}
            store.append(
                "epoch", trial=number, epoch=epoch, accuracy=value, size=size, **times, **where
            )
        store.append("ended", time=3.0 + number, trial=number, status="done")
    store.append("searched", time=99.0)
    return load(folder)
