"""A cluster that somebody else runs: commands are submitted to it, nothing is started or ended."""

import base64
import io
import shlex
import shutil
import tarfile
import uuid
from collections.abc import Callable
from pathlib import Path

from raytune_yesno.errors import InputError, WorkError
from raytune_yesno.files.remote import download, is_remote
from raytune_yesno.launch.job import Job
from raytune_yesno.launch.launch_state import Launch
from raytune_yesno.launch.packaging import PROGRAM
from raytune_yesno.launch.ray_up import answers
from raytune_yesno.study.store import STORE

_MARK = "raytune-yesno study follows"


class ExistingCluster:
    """A cluster of which the dashboard's address is known, and no more."""

    studies = ""

    def __init__(
        self,
        launch: Launch,
        say: Callable[[str], None],
        show: Callable[[str], None],
        wait_s: float = 0,
    ) -> None:
        self.launch, self.say, self.show = launch, say, show

    def check(self) -> None:
        """Raise InputError if nobody answers at the address."""
        if not answers(self.launch.address):
            raise InputError(
                f"--address {self.launch.address}: no dashboard of Ray's answers there; give "
                "http://127.0.0.1:8265 of an SSH tunnel, and have the cluster's token in "
                "~/.ray/auth_token"
            )

    def up(self) -> None:
        """Do nothing: it is up."""
        self.launch.save(phase="ready")

    def submit(self) -> None:
        """Start the command on the head."""
        launch = self.launch
        words = list(launch.arguments)
        if not {"--out", "--resume"} & set(words):
            words += ["--out", launch.study]
        submission = f"launch-{uuid.uuid4().hex[:8]}"
        Job(launch.address, submission).submit(f"{PROGRAM} {shlex.join(words)}", launch.inputs)
        launch.save(phase="submitted", submission=submission)
        self.say(f"job: {shlex.join(words)}")

    def follow(self) -> int:
        """Show what the job prints until it ends."""
        exit_code = Job(self.launch.address, self.launch.submission).follow(self.show)
        self.launch.save(phase="ended", exit_code=exit_code)
        return exit_code

    def recover(self) -> None:
        """Submit the study again; it goes on from its records."""
        launch = self.launch
        if not answers(launch.address):
            raise WorkError(f"{launch.address}: no answer; the study lies in {launch.study} there")
        launch.arguments = [launch.arguments[0], "--resume", launch.study]
        self.submit()

    def fetch(self) -> None:
        """Bring the study home: from where it is reached from here, too, or as a job's log."""
        launch = self.launch
        if is_remote(launch.study):
            download(launch.study, Path(launch.out))
        elif (Path(launch.study) / STORE).exists():
            shutil.copytree(launch.study, launch.out, dirs_exist_ok=True)
        else:
            printed: list[str] = []
            folder = shlex.quote(launch.study)
            empty = launch.folder / "empty"
            empty.mkdir(exist_ok=True)
            job = Job(launch.address, f"fetch-{uuid.uuid4().hex[:8]}")
            job.submit(f"echo {_MARK}; tar -czf - -C {folder} . | base64 -w 0", empty)
            if job.follow(printed.append) or _MARK not in "".join(printed):
                raise WorkError(f"{launch.study} could not be read on the cluster")
            packed = base64.b64decode("".join(printed).split(_MARK)[-1].strip())
            with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
                archive.extractall(launch.out, filter="data")
        self.say(f"home: {launch.out}")
        launch.save(phase="home")

    def end_all(self) -> list[str]:
        """End nothing: it is not ours."""
        return []

    def down(self) -> None:
        """End nothing but what was submitted, if it still runs."""
        if self.launch.phase == "submitted":
            Job(self.launch.address, self.launch.submission).stop()
