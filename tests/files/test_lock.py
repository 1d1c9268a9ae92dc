"""One writer at a time: for a folder, for a URI, between processes, after kills."""

import json
import os
import signal
import socket
import subprocess
import time
from contextlib import ExitStack
from pathlib import Path

import pytest
from helpers.holding import BEAT_S, SETTLE_S, STALE_S, ask, holder, read_line

from raytune_yesno.errors import InputError, WorkError
from raytune_yesno.files import lock
from raytune_yesno.files.claim import parse_claim
from raytune_yesno.files.claim_storage import open_storage
from raytune_yesno.files.remote import LOCK


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this process agree with the holders on when a lock is stale."""
    monkeypatch.setattr(lock, "STALE_S", STALE_S)
    monkeypatch.setattr(lock, "BEAT_S", BEAT_S)
    monkeypatch.setattr(lock, "_SETTLE_S", SETTLE_S)


def quiet(line: str) -> None:
    pass


@pytest.fixture(params=["folder", "uri"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return a place to lock: by the kernel and by claims, or by claims alone."""
    return str(tmp_path / "study") if request.param == "folder" else f"file://{tmp_path}/study"


def read_claims(folder: Path) -> list[Path]:
    return list((folder / LOCK).glob("*.json"))


def test_a_second_process_is_refused_and_told_who_holds_it(place: str) -> None:
    with holder(place) as first:
        assert read_line(first) == "held"
        with pytest.raises(InputError) as refused, lock.hold(place, quiet):
            pass
        for word in (place, str(first.pid), socket.gethostname()):
            assert word in str(refused.value)
        assert ask(first) == "held"
        first.communicate()
    with lock.hold(place, quiet):
        pass


def test_nothing_is_left_of_a_lock_that_was_released(tmp_path: Path) -> None:
    with lock.hold(tmp_path / "new" / "study", quiet):
        assert (tmp_path / "new" / "study").is_dir()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_with_content_stays(tmp_path: Path) -> None:
    with lock.hold(tmp_path / "study", quiet):
        (tmp_path / "study" / "file").write_text("")
    assert [path.name for path in (tmp_path / "study").iterdir()] == ["file"]


def test_it_is_taken_over_from_a_process_that_was_killed(place: str) -> None:
    with holder(place) as first:
        assert read_line(first) == "held"
        first.kill()
        # It has ended, but nobody has asked for its exit code.
        os.waitid(os.P_PID, first.pid, os.WEXITED | os.WNOWAIT)
        assert lock.find_holder(place) is None
        # No claim is waited for: that would take far longer than the limit of a look at it.
        with lock.hold(place, lambda line: pytest.fail(line)) as held:
            held.check()


def test_of_many_that_start_at_once_one_gets_it(place: str) -> None:
    with ExitStack() as closing:
        processes = [closing.enter_context(holder(place)) for _ in range(6)]
        assert sorted(map(read_line, processes)) == ["held", *["refused"] * 5]


def test_a_process_on_another_host_is_refused_while_the_holder_lives(place: str) -> None:
    with holder(place) as first, holder(place, kernel="elsewhere") as second:
        assert {read_line(first), read_line(second)} == {"held", "refused"}


def test_a_holder_elsewhere_without_a_sign_of_life_is_taken_over(
    place: str,
) -> None:
    folder = Path(place.removeprefix("file://"))
    with holder(place, kernel="elsewhere") as first:
        assert read_line(first) == "held"
        first.kill()
        first.wait()
    (claim,) = read_claims(folder)
    with lock.hold(place, quiet) as held:
        assert not claim.exists()
        held.check()


def test_a_holder_that_was_suspended_stops_writing(tmp_path: Path) -> None:
    place = f"file://{tmp_path}/study"
    with holder(place) as first:
        assert read_line(first) == "held"
        first.send_signal(signal.SIGSTOP)
        with holder(place, kernel="elsewhere") as second:
            assert read_line(second) == "held"
            first.send_signal(signal.SIGCONT)
            assert ask(first) == "lost"
            assert ask(second) == "held"


def test_a_holder_that_was_suspended_continues_if_nobody_took_the_lock(place: str) -> None:
    with holder(place) as first:
        assert read_line(first) == "held"
        first.send_signal(signal.SIGSTOP)
        (claim,) = read_claims(Path(place.removeprefix("file://")))
        while time.time() - claim.stat().st_mtime < STALE_S * 0.75:
            time.sleep(0.1)
        first.send_signal(signal.SIGCONT)
        assert ask(first) == "held"


def test_a_suspended_holder_on_this_machine_is_not_taken_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock, "STALE_S", BEAT_S)
    monkeypatch.setattr(lock, "_PATIENCE_S", 3 * BEAT_S)
    with holder(tmp_path) as first:
        assert read_line(first) == "held"
        first.send_signal(signal.SIGSTOP)
        with pytest.raises(InputError, match=str(first.pid)), lock.hold(tmp_path, quiet):
            pass


def test_claims_that_are_damaged_or_pipes_delay_and_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock, "STALE_S", 0.5)
    (tmp_path / LOCK).mkdir()
    damaged = [
        b"",
        b"{",
        b'{"host": 1}',
        b"\xff" * 100_000,
        json.dumps({"since": 1e300, "pid": -1, "host": "\x1b[2J\n" * 50}).encode(),
    ]
    for number, content in enumerate(damaged):
        (tmp_path / LOCK / f"{number}.json").write_bytes(content)
    os.mkfifo(tmp_path / LOCK / "pipe.json")  # reading it would wait for a writer
    with lock.hold(tmp_path, quiet) as held:
        held.check()


def test_a_claim_shows_no_control_characters_and_no_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = "--log=mlflow=http://me:secret@host/x?token=hidden"
    monkeypatch.setattr("sys.argv", ["raytune-yesno", "tune", log, "--out", "\x1b[2J\n"])
    with lock.hold(tmp_path, quiet):
        (path,) = read_claims(tmp_path)
        claim = parse_claim(path.read_bytes())
    assert "secret" not in str(claim)
    assert "hidden" not in str(claim)
    assert "http://host/x" in str(claim)
    assert str(claim).isprintable()


@pytest.mark.parametrize("name", ["lock", "kernel"])
def test_a_link_in_a_strangers_folder_is_not_followed(name: str, tmp_path: Path) -> None:
    study, elsewhere = tmp_path / "study", tmp_path / "elsewhere"
    study.mkdir()
    elsewhere.mkdir()
    if name == "lock":
        (study / LOCK).symlink_to(elsewhere)
    else:
        (study / LOCK).mkdir()
        (study / LOCK / "kernel").symlink_to(elsewhere / "made")
    with pytest.raises(InputError, match="cannot be written"), lock.hold(study, quiet):
        pass
    assert list(elsewhere.iterdir()) == []


def test_a_lock_that_was_deleted_is_lost(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with holder(tmp_path) as first:
        assert read_line(first) == "held"
        subprocess.run(["rm", "-r", tmp_path / LOCK], check=True)
        deadline = time.monotonic() + 60
        while ask(first) == "held":
            assert time.monotonic() < deadline
            time.sleep(0.1)


def test_a_lock_is_kept_while_its_file_system_is_away(tmp_path: Path) -> None:
    folder = tmp_path / "study"
    with lock.hold(folder, quiet) as held:
        (folder / "file").write_text("")
        folder.rename(tmp_path / "away")
        held._renew()
        held.check()
        (tmp_path / "away").rename(folder)
        held._renew()
        held.check()


def test_a_check_raises_once_it_is_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "kill", lambda *_: None)
    (tmp_path / "file").write_text("")
    with lock.hold(tmp_path, quiet) as held:
        (claim,) = read_claims(tmp_path)
        claim.unlink()
        held._renew()
        with pytest.raises(WorkError, match=str(tmp_path)):
            held.check()


def test_a_claim_that_is_being_written_counts(place: str) -> None:
    folder = Path(place.removeprefix("file://")) / LOCK
    folder.mkdir(parents=True)
    (folder / "0.json").write_bytes(b"")  # what a reader sees between opening and writing
    assert lock.Lock(place, open_storage(place))._others() == {"0.json": b""}
