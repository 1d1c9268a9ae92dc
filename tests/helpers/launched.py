"""A cluster for tests of ``launch``: this machine plays it."""

import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path

from raytune_yesno import cli

URL = "http://127.0.0.1:8265"
PROGRAM = ["python", "-m", "raytune_yesno"]


class Head:
    """A head whose jobs run in shells of this machine, except those of the project.

    Attributes:
        submitted: the words of each job of the project.
        ids: the id of its command that each of them was told.
        knows: whether it knows the job of the project.
        work: what a job of the project does; it returns the exit code.
    """

    def __init__(self) -> None:
        self.submitted: list[list[str]] = []
        self.ids: list[str] = []
        self.entrypoint = ""
        self.knows = False
        self.work: Callable[[], int] = lambda: 0

    def submit(self, job: object, entrypoint: str, inputs: Path, command_id: str = "") -> None:
        self.entrypoint = entrypoint
        if (words := shlex.split(entrypoint))[:3] == PROGRAM:
            self.submitted.append(words[3:])
            self.ids.append(command_id)

    def follow(self, job: object, show: Callable[[str], None]) -> int:
        if shlex.split(self.entrypoint)[:3] == PROGRAM:
            return self.work()
        show(f"Running entrypoint for job x: {self.entrypoint}\n")
        done = subprocess.run(["sh", "-c", self.entrypoint], capture_output=True, text=True)
        show(done.stdout)
        return done.returncode


def launch(cluster: list[str], out: Path, *words: str) -> int:
    return cli.main(["launch", *cluster, "--out", str(out), "--", *words])


def write(folder: Path, name: str) -> int:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text("{}\n")
    return 0
