"""Progress on a terminal of any width, and in a pipe."""

import contextlib
import fcntl
import io
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from argparse import Namespace
from collections.abc import Iterator
from typing import Any, TextIO

import pytest

from raytune_yesno.commands.common import announce, note
from raytune_yesno.commands.display import Display, fit_lines
from raytune_yesno.commands.terminal import clear_progress
from raytune_yesno.metrics import LEGACY_OBJECTIVE
from raytune_yesno.tuning.progress import Progress


class Screen:
    """The lines of a terminal, as its escape codes leave them."""

    def __init__(self, columns: int) -> None:
        self.master, slave = pty.openpty()
        os.set_blocking(self.master, False)
        size = struct.pack("HHHH", 24, columns, 0, 0)
        fcntl.ioctl(slave, termios.TIOCSWINSZ, size)
        self.stream: TextIO = os.fdopen(slave, "w")
        self.columns = columns

    def read(self) -> list[str]:
        self.stream.flush()
        written = b""
        with contextlib.suppress(BlockingIOError):
            while True:
                written += os.read(self.master, 1 << 16)
        rows, row, column = [""], 0, 0
        for token in re.findall(r"\x1b\[\d*[A-Z]|[^\x1b]", written.decode()):
            if token == "\n":
                row += 1
                rows += [""] * (row == len(rows))
            elif token == "\r":
                column = 0
            elif token == "\x1b[J":
                rows = [*rows[:row], rows[row][:column]]
            elif token.endswith("A"):
                row -= int(token[2:-1])
                assert row >= 0
            else:
                assert token.isprintable()
                rows[row] = rows[row][:column].ljust(column) + token + rows[row][column + 1 :]
                column += 1
                assert column < self.columns, "the line wraps"
        return rows


@pytest.fixture(params=[45, 80, 200])
def screen(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Screen]:
    monkeypatch.setenv("TERM", "xterm")
    screen = Screen(request.param)
    yield screen
    screen.stream.close()
    os.close(screen.master)


def train(progress: Progress) -> None:
    def tell(event: str, trial: int, **more: Any) -> None:
        progress.listen({"event": event, "trial": trial, "time": 0.0, **more})

    for trial in (0, 1, 2):
        tell("started", trial, attempt=1)
    for epoch in (1, 2):
        for trial in (0, 1):
            loss = 1 / (1 + epoch + trial)
            tell("epoch", trial, epoch=epoch, valid_loss=loss, valid_wer=loss, train_loss=9.0)
    tell("ended", 0, status="done")


def test_a_terminal_shows_the_running_trials(screen: Screen) -> None:
    with Display(screen.stream) as display:
        train(Progress(LEGACY_OBJECTIVE, 8, 3, 6, display.show_search))
        rows = screen.read()
        assert rows[0].startswith("[#.........] 1/8")
        assert [row.split()[:2] for row in rows[1:]] == [["trial", "1"], ["trial", "2"]]
        assert "epoch 2/6" in rows[1]
        assert "wer 25" in rows[1]  # what decides is seen at any width
        assert "epoch 0/6" in rows[2]


def test_a_note_stands_above_the_progress_and_steps_leave_nothing(
    screen: Screen, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stderr", screen.stream)
    Display().show("loading")
    note("first")
    display = Display()
    display.show("one", "two")
    display.remark("second")
    display.show("three")
    display.close()
    assert [row for row in screen.read() if row] == ["first", "second", "three"]


def test_a_long_note_is_broken_between_words_and_a_command_is_not(
    screen: Screen, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stderr", screen.stream)
    words = [f"word{number}" for number in range(60)]
    note(" ".join(words))
    rows = screen.read()
    assert max(map(len, rows)) < screen.columns
    assert " ".join(rows).split() == words
    exact = "a " * (screen.columns // 2) + "b" * (screen.columns % 2)
    assert fit_lines(exact, screen.stream) == exact
    command = "raytune-yesno " + "x" * 50 + " -"
    assert fit_lines(command, screen.stream) == command


def test_a_pipe_gets_plain_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    display = Display(stream)
    train(Progress(LEGACY_OBJECTIVE, 1, 3, 6, display.show_search))
    lines = stream.getvalue().splitlines()
    assert lines[0].startswith("[..........] 0/1")
    assert lines[-1].startswith("[##########] 1/1")
    assert "\x1b" not in stream.getvalue()


def test_a_terminal_shows_what_is_being_started(
    screen: Screen, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stderr", screen.stream)
    announce(Namespace(quiet=True), "loading PyTorch and Ray")
    assert screen.read() == [""]
    announce(Namespace(quiet=False), "loading PyTorch and Ray")
    assert screen.read() == ["loading PyTorch and Ray"]
    clear_progress()


def test_nothing_large_is_imported_before_the_first_step_is_shown() -> None:
    program = (
        "import sys, raytune_yesno.cli, raytune_yesno.commands.tune, raytune_yesno.commands.train\n"
        "print({'torch', 'ray', 'pandas', 'numpy'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout == "set()\n"


def test_a_count_says_what_it_counts() -> None:
    stream = io.StringIO()
    Display(stream).show_count(29, 58, "conditions")
    assert stream.getvalue() == "[#####.....] 29/58 conditions\n"


def test_quiet_shows_remarks_only() -> None:
    stream = io.StringIO()
    display = Display(stream, quiet=True)
    display.show("progress", important=True)
    display.remark("a warning")
    display.close()
    assert stream.getvalue() == "a warning\n"
