"""Requests to a study: they arrive whole, are recorded once, and damaged ones do nothing."""

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from raytune_yesno.study.requests import (
    ENQUEUE,
    REQUESTS,
    STOP,
    STOP_SEARCH,
    Inbox,
    Request,
    name_request,
    parse,
    send,
)
from raytune_yesno.study.store import STORE


@pytest.mark.parametrize("kind", ["folder", "URI"])
def test_requests_are_taken_once_and_in_their_order(kind: str, tmp_path: Path) -> None:
    location = str(tmp_path) if kind == "folder" else tmp_path.as_uri()
    sent = [
        Request(name_request(), STOP, trial=3),
        Request(name_request(), ENQUEUE, point={"learning_rate": "1e-3"}),
        Request(name_request(), STOP_SEARCH),
    ]
    for request in sent:
        send(location, request)
    inbox = Inbox(location)
    inbox.look()
    inbox.look()
    assert list(inbox.take()) == sent
    assert list(inbox.take()) == []
    record = "".join(request.name for request in sent)
    (tmp_path / STORE).write_text(record)
    inbox.look()
    assert list((tmp_path / REQUESTS).iterdir()) == []


def test_a_request_is_there_until_it_has_been_recorded(tmp_path: Path) -> None:
    request = Request(name_request(), STOP, trial=3)
    send(str(tmp_path), request)
    inbox = Inbox(str(tmp_path))
    inbox.look()
    inbox.look()  # the command may be busy for longer than the time between two looks
    taken = inbox.take()
    assert next(taken) == request
    assert (tmp_path / REQUESTS / request.name).exists()  # a kill here loses nothing
    again = Inbox(str(tmp_path), seen=[request.name])  # it was recorded before the kill
    again.look()
    assert list(again.take()) == []
    assert not (tmp_path / REQUESTS / request.name).exists()


def test_at_a_uri_a_request_is_there_until_the_record_there_holds_it(tmp_path: Path) -> None:
    request = Request(name_request(), STOP, trial=3)
    send(tmp_path.as_uri(), request)
    inbox = Inbox(tmp_path.as_uri())
    inbox.look()
    assert list(inbox.take()) == [request]
    for record, is_there in (("", True), (f'{{"request": "{request.name}"}}', False)):
        (tmp_path / STORE).write_text(record)  # the copy of the record
        inbox.look()
        assert (tmp_path / REQUESTS / request.name).exists() is is_there


def test_an_inbox_looks_a_last_time_when_it_is_closed(tmp_path: Path) -> None:
    with Inbox(str(tmp_path)) as inbox:
        request = Request(name_request(), STOP_SEARCH)
        send(str(tmp_path), request)
        inbox.close()
        assert list(inbox.take()) == [request]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"{",
        b'{"action": "run"}',
        b'{"action": "stop"}',
        b'{"action": "stop", "trial": -1}',
        b'{"action": "stop", "trial": "3"}',
        b'{"action": "enqueue", "point": [1]}',
        b'{"action": 5}',
    ],
)
def test_a_damaged_request_is_dropped(content: bytes, tmp_path: Path) -> None:
    assert parse("x.json", content) is None
    (tmp_path / REQUESTS).mkdir()
    (tmp_path / REQUESTS / "x.json").write_bytes(content)
    inbox = Inbox(str(tmp_path))
    inbox.look()
    assert list(inbox.take()) == []
    assert not (tmp_path / REQUESTS / "x.json").exists()


def test_links_and_pipes_of_a_hostile_folder_are_not_read(tmp_path: Path) -> None:
    (tmp_path / REQUESTS).mkdir()
    secret = tmp_path / "secret"
    secret.write_text('{"action": "stop search"}')
    (tmp_path / REQUESTS / "a.json").symlink_to(secret)
    os.mkfifo(tmp_path / REQUESTS / "b.json")
    inbox = Inbox(str(tmp_path))
    inbox.look()
    assert list(inbox.take()) == []
    assert secret.exists()


def test_a_request_that_cannot_be_read_now_is_taken_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inbox = Inbox(str(tmp_path))
    send(str(tmp_path), Request(name_request(), STOP, trial=3))
    opened = os.open

    def fail(path: Any, *rest: Any, **more: Any) -> int:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    with monkeypatch.context() as patched:
        patched.setattr(os, "open", fail)
        inbox.look()
    assert os.open is opened
    assert [request.trial for request in inbox.list_waiting()] == [3]
