"""A terminal that is closed while something is printed to it."""

import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from raytune_yesno.commands.terminal import ReaderGone, ResultStream, TolerantStream
from raytune_yesno.errors import WorkError
from raytune_yesno.study import load


def test_a_stream_falls_silent_when_its_terminal_is_closed() -> None:
    master, slave = pty.openpty()
    with os.fdopen(slave, "w") as stream:
        tolerant = TolerantStream(stream)
        assert tolerant.isatty()
        print("seen", file=tolerant, flush=True)
        assert os.read(master, 100) == b"seen\r\n"
        os.close(master)
        with pytest.raises(OSError, match="Input/output error"):
            os.write(slave, b"x")
        print("not seen", file=tolerant, flush=True)
        print("nor this", file=tolerant, flush=True)
        assert not tolerant.isatty()


def test_results_without_a_reader_or_on_a_full_disk_are_told() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as stream, pytest.raises(ReaderGone):
        print("x", file=ResultStream(stream), flush=True)
    with open("/dev/full", "w") as stream, pytest.raises(WorkError, match="No space left"):
        print("x", file=ResultStream(stream), flush=True)


@pytest.mark.ray
def test_a_study_continues_without_its_terminal(ray_cluster: str, tmp_path: Path) -> None:
    master, slave = pty.openpty()
    out = tmp_path / "study"
    words = ["tune", "--data", "synthetic:10", "--trials", "1", "--epochs", "1", "--out", str(out)]
    words += ["--set", "channels=4,8", "--set", "hidden_units=16"]
    study = subprocess.Popen(
        [sys.executable, "-m", "raytune_yesno", *words, "--address", ray_cluster],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN),  # as nohup does
    )
    os.close(slave)
    shown = b""
    while b"running" not in shown:
        shown += os.read(master, 1000)
    os.close(master)
    assert study.wait(300) == 0
    assert load(out).refit
