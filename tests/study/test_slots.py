"""A study that is resumed with another number of slots."""

from itertools import combinations
from pathlib import Path

import pytest

from raytune_yesno.report.sentences import describe_time
from raytune_yesno.report.timeline import build_timeline
from raytune_yesno.study import Study, load
from raytune_yesno.study.store import StudyStore


def write_busy(folder: Path, *phases: int) -> Study:
    """Write a study whose slots train all the time, and that pauses before each other number."""
    store = StudyStore(folder)
    first = {"metrics": [{"name": "loss"}], "config": {"epochs": 1}, "space": {}}
    store.append("study", time=0.0, trials=99, slots=phases[0], **first)
    number, end = 0, 0.0
    for phase, slots in enumerate(phases):
        start = 1000.0 * phase
        if phase:
            store.append("paused", time=end)
            store.append("resumed", time=start, slots=slots, trials=99)
        for begin in (start, start + 10.0):
            end = begin + 10.0
            trials = range(number, number + slots)
            number += slots
            for trial in trials:
                store.append("asked", time=begin, trial=trial, point={"x": trial})
                store.append("started", time=begin, trial=trial, attempt=1)
            for slot, trial in enumerate(trials):
                where = {"host": "here", "pid": 100 * phase + slot, "attempt": 1}
                spent = {"seconds": 10.0, "began": begin, "ended": end}
                store.append("epoch", time=end, trial=trial, epoch=1, loss=1.0, **where, **spent)
                store.append("ended", time=end, trial=trial, status="done")
    store.append("searched", time=end)
    return load(folder)


@pytest.mark.parametrize("phases", [(1, 4), (4, 1), (2, 2), (1, 3, 2)])
def test_slots_that_always_train_are_efficient(tmp_path: Path, phases: tuple[int, ...]) -> None:
    study = write_busy(tmp_path, *phases)
    assert study.efficiency
    assert study.efficiency.efficiency == pytest.approx(1.0)
    assert study.num_slots == max(phases)
    slots, spans = build_timeline(study)
    assert len(slots) == max(phases)
    for one, other in combinations(spans, 2):
        assert one[0] != other[0] or one[3] <= other[2] or other[3] <= one[2]
    shown = "2 slots" if phases == (2, 2) else f"1 to {max(phases)} slots"
    assert shown in describe_time(study)
