"""Requests to a study: they arrive whole, are recorded once, and damaged ones do nothing."""

import os
from pathlib import Path

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
    assert list((tmp_path / REQUESTS).iterdir()) == []


def test_a_request_is_there_until_it_has_been_recorded(tmp_path: Path) -> None:
    request = Request(name_request(), STOP, trial=3)
    send(str(tmp_path), request)
    inbox = Inbox(str(tmp_path))
    inbox.look()
    taken = inbox.take()
    assert next(taken) == request
    assert (tmp_path / REQUESTS / request.name).exists()  # a kill here loses nothing
    again = Inbox(str(tmp_path), seen=[request.name])  # it was recorded before the kill
    again.look()
    assert list(again.take()) == []
    assert not (tmp_path / REQUESTS / request.name).exists()


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
