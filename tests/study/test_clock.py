"""Adjusted clocks, and workers with clocks that differ from the driver's."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from raytune_yesno.study import Study, load
from raytune_yesno.study.store import STORE

Change = Callable[[int, dict[str, Any]], None]
SHARES = ("efficiency", "startup", "reporting", "gaps", "tail")


def build_events() -> list[dict[str, Any]]:
    """Return a study: two slots on two hosts, three trials each, two epochs of 8 s in 10 s."""
    events: list[dict[str, Any]] = [
        {"event": "study", "time": 1_000_000.0, "format": 1, "slots": 2, "config": {"task": "sine"}}
    ]
    for trial in range(6):
        slot, start = trial % 2, 1_000_002.0 + 20 * (trial // 2)
        events.append({"event": "asked", "time": start, "trial": trial, "point": {}})
        events.append({"event": "started", "time": start, "trial": trial, "attempt": 1})
        for epoch in (1, 2):
            ended = start + 10 * epoch
            worker = {"host": f"host-{slot}", "pid": 7, "seconds": 8.0, "valid_loss": 1.0}
            times = {"time": ended + 0.1, "began": ended - 9.0, "ended": ended}
            kind = {"event": "epoch", "trial": trial, "attempt": 1, "epoch": epoch}
            events.append({**kind, **worker, **times})
        events.append({"event": "ended", "time": start + 20.1, "trial": trial, "status": "done"})
    events.sort(key=lambda event: event["time"])
    return [*events, {"event": "searched", "time": 1_000_063.0}]


def read(folder: Path, change: Change) -> Study:
    events = build_events()
    for number, event in enumerate(events):
        change(number, event)
    (folder / STORE).write_text("".join(json.dumps(event) + "\n" for event in events))
    return load(folder)


def move_worker(host: str, by: float) -> Change:
    def change(number: int, event: dict[str, Any]) -> None:
        if event.get("host") == host:
            event["began"] += by
            event["ended"] += by

    return change


def move_all_from(start: int, by: float) -> Change:
    def change(number: int, event: dict[str, Any]) -> None:
        if number >= start:
            for key in event.keys() & {"time", "began", "ended"}:
                event[key] += by

    return change


def move_worker_from(start: int, by: float) -> Change:
    def change(number: int, event: dict[str, Any]) -> None:
        if number >= start:
            move_worker("host-1", by)(number, event)

    return change


CHANGES = {
    "worker an hour behind": move_worker("host-1", -3600.0),
    "worker an hour ahead": move_worker("host-1", 3600.0),
    "clock set back by an hour": move_all_from(12, -3600.0),
    "clock set back by 1.5 s": move_all_from(12, -1.5),
    "worker's clock set back": move_worker_from(12, -3600.0),
    "worker's clock set forward": move_worker_from(12, 3600.0),
}


@pytest.mark.parametrize("name", CHANGES)
def test_efficiency_does_not_depend_on_the_clocks(name: str, tmp_path: Path) -> None:
    unchanged = read(tmp_path, lambda number, event: None).efficiency
    study = read(tmp_path, CHANGES[name])
    found = study.efficiency
    assert unchanged
    assert found
    assert unchanged.efficiency == pytest.approx(96 / 120)
    for share in SHARES:
        assert getattr(found, share) == pytest.approx(getattr(unchanged, share), abs=0.03), share
    assert math.isclose(sum(getattr(found, share) for share in SHARES), 1.0)
    assert found.startup_s == pytest.approx(unchanged.startup_s, abs=2.0)
    assert (study.epochs["ended"] >= study.epochs["began"]).all()


@pytest.mark.parametrize("start", range(0, 26, 3))
@pytest.mark.parametrize("by", [-7200.0, -20.0, -3.0, 3.0, 20.0, 7200.0])
def test_no_time_is_negative_and_no_share_above_one(start: int, by: float, tmp_path: Path) -> None:
    for change in (move_all_from(start, by), move_worker_from(start, by)):
        found = read(tmp_path, change).efficiency
        assert found
        assert all(0.0 <= getattr(found, share) <= 1.0 for share in SHARES)
        assert found.startup_s >= 0.0


def test_a_resumed_study_whose_clock_was_set_back_has_no_negative_pause(tmp_path: Path) -> None:
    def change(number: int, event: dict[str, Any]) -> None:
        move_all_from(12, -3600.0)(number, event)
        if number == 12:
            event.clear()
            event.update({"event": "resumed", "time": 996_430.0, "trials": 6, "slots": 2})

    study = read(tmp_path, change)
    assert all(stop >= start for start, stop in study.pauses)
    assert study.efficiency
    assert 0.0 <= study.efficiency.efficiency <= 1.0
