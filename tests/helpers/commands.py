"""Run the command line in processes of its own."""

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PROGRESS = re.compile(r"\[[#.]{10}\] \S")


@dataclass
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one line of standard output."""
        (line,) = self.out.splitlines()
        return json.loads(line)


def start(*arguments: str, log: Path) -> subprocess.Popen[str]:
    """Start a command in a process of its own; standard error goes to a file."""
    command = [sys.executable, "-m", "raytune_yesno", *arguments]
    with log.open("w") as stderr:
        # Results are the same bits only with the same number of threads.
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        return subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=stderr, text=True, env=environment
        )


def finish(process: subprocess.Popen[str], log: Path) -> Ended:
    """Wait for a command's end, and hold what it printed to what every command keeps to."""
    out, _ = process.communicate()
    ended = Ended(process.returncode, out, log.read_text())
    assert not re.search(r"[\x1b\r]", ended.out + ended.err)
    assert "Traceback" not in ended.err
    for line in ended.err.splitlines():
        assert len(line) <= 80 or not PROGRESS.match(line), line
    return ended
