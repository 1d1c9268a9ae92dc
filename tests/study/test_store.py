"""The record: append-only, strict JSON, safe against crashes and full disks."""

import errno
import json
import math
import re
import resource
import signal
from pathlib import Path

import pytest

from raytune_yesno.errors import InputError
from raytune_yesno.metrics import RESERVED
from raytune_yesno.study.events import EPOCH_FIELDS
from raytune_yesno.study.store import STORE, StudyStore, read_events


@pytest.fixture
def store(tmp_path: Path) -> StudyStore:
    """Return the store of a new study."""
    store = StudyStore(tmp_path / "study")
    store.append("study", slots=2)
    return store


def names(folder: Path) -> list[str]:
    return [event["event"] for event in read_events(folder)[0]]


def test_events_are_read_in_order_with_their_times(store: StudyStore) -> None:
    store.append("asked", trial=0, point={"channels": (16, 32), "activation": "relu"})
    process = {"host": "here", "pid": 1, "began": 1.0, "ended": 2.0, "seconds": 1.0}
    store.append("epoch", trial=0, epoch=1, valid_loss=0.25, **process)
    events, problems = read_events(store.path.parent)
    assert problems == []
    times = [event.pop("time") for event in events]
    assert times == sorted(times)
    assert events == [
        {"event": "study", "slots": 2},
        {"event": "asked", "trial": 0, "point": {"channels": [16, 32], "activation": "relu"}},
        {"event": "epoch", "trial": 0, "epoch": 1, "valid_loss": 0.25, **process},
    ]


def test_another_store_continues_the_record(store: StudyStore) -> None:
    StudyStore(store.path.parent).append("resumed", slots=1)
    store.append("searched")
    assert names(store.path.parent) == ["study", "resumed", "searched"]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_every_line_is_strict_json(store: StudyStore, value: float) -> None:
    store.append("epoch", trial=0, valid_loss=value, nested={"list": [1.5, value, (value,)]})

    def refuse(constant: str) -> None:
        pytest.fail(f"{constant} is not JSON")

    lines = store.path.read_text().splitlines()
    *_, event = (json.loads(line, parse_constant=refuse) for line in lines)
    assert event["valid_loss"] is None
    assert event["nested"] == {"list": [1.5, None, [None]]}


def test_a_value_that_is_not_json_is_refused_without_a_partial_line(store: StudyStore) -> None:
    with pytest.raises(TypeError):
        store.append("epoch", trial=0, valid_loss=object())
    store.append("searched")
    assert names(store.path.parent) == ["study", "searched"]


def test_a_metric_may_have_any_name_that_is_not_reserved(store: StudyStore) -> None:
    assert EPOCH_FIELDS <= RESERVED
    about = {"seconds": 1.0, "host": "here", "pid": 1, "began": 1.0, "ended": 2.0}
    metrics = {"reason": 0.5, "cause": 1.0, "status_code": 2.0}
    store.append("epoch", trial=0, epoch=1, **about, **metrics)
    (_, epoch), problems = read_events(store.path.parent)
    assert not problems
    assert epoch.items() >= metrics.items()


@pytest.mark.parametrize("length", [1, 10, -1])
def test_a_truncated_line_is_left_out_and_reported(store: StudyStore, length: int) -> None:
    line = json.dumps({"event": "epoch", "trial": 0, "epoch": 1})
    with store.path.open("a") as file:
        file.write(line[:length])
    events, problems = read_events(store.path.parent)
    assert [event["event"] for event in events] == ["study"]
    (problem,) = problems
    assert problem.startswith(f"{store.path}:2:")


def test_lines_after_a_truncated_one_are_read(store: StudyStore) -> None:
    with store.path.open("a") as file:
        file.write('{"event": "epoch", "tri')
    StudyStore(store.path.parent).append("resumed", slots=2)
    events, problems = read_events(store.path.parent)
    assert [event["event"] for event in events] == ["study", "resumed"]
    (problem,) = problems
    assert problem.startswith(f"{store.path}:2:")


def test_a_complete_line_without_its_end_is_kept(store: StudyStore) -> None:
    store.path.write_bytes(store.path.read_bytes().rstrip(b"\n"))
    assert names(store.path.parent) == ["study"]
    StudyStore(store.path.parent).append("searched")
    assert names(store.path.parent) == ["study", "searched"]


@pytest.mark.parametrize("line", [b"12", b"[]", b'{"trial": 1}', b'{"event": 3}', b"\xff\x00", b""])
def test_lines_that_are_not_events_are_left_out(store: StudyStore, line: bytes) -> None:
    with store.path.open("ab") as file:
        file.write(line + b"\n")
    store.append("searched")
    events, problems = read_events(store.path.parent)
    assert [event["event"] for event in events] == ["study", "searched"]
    assert len(problems) == 1


def test_reading_changes_nothing(store: StudyStore) -> None:
    with store.path.open("a") as file:
        file.write('{"event"')
    before = store.path.read_bytes()
    read_events(store.path.parent)
    assert store.path.read_bytes() == before


@pytest.mark.parametrize("content", ["", "{", '{"event": "asked", "trial": 0}\n'])
def test_a_file_without_a_study_event_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / STORE).write_text(content)
    with pytest.raises(InputError, match=re.escape(f"{tmp_path / STORE}: not a study")):
        read_events(tmp_path)


def test_a_folder_without_a_store_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no study here"):
        read_events(tmp_path)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_write_to_a_full_disk_is_retried(store: StudyStore) -> None:
    path, tried = store.path, []

    def free(error: OSError) -> None:
        tried.append(error.errno)
        if len(tried) == 3:
            store.path = path

    store.wait = free
    store.path = Path("/dev/full")
    store.append("asked", trial=0, point={})
    assert tried == [errno.ENOSPC] * 3
    assert names(path.parent) == ["study", "asked"]


def test_a_write_to_an_unmounted_file_system_is_retried(store: StudyStore) -> None:
    away = store.path.parent.with_name("away")

    def bring_back(error: OSError) -> None:
        assert error.errno == errno.ENOENT
        (store.path.parent).rmdir()
        away.rename(store.path.parent)

    store.wait = bring_back
    store.path.parent.rename(away)
    store.path.parent.mkdir()  # an empty mount point
    store.append("asked", trial=0, point={})
    assert names(store.path.parent) == ["study", "asked"]


def test_a_partial_line_is_removed(store: StudyStore) -> None:
    """A limit on the file size acts like a disk that fills up."""
    before = store.path.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 20, hard))
    try:
        with pytest.raises(OSError, match="File too large"):
            store.append("asked", trial=0, point={"learning_rate": 0.1})
        assert store.path.read_bytes() == before
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, ignored)
    store.append("asked", trial=0, point={"learning_rate": 0.1})
    assert names(store.path.parent) == ["study", "asked"]
