"""A cluster of other people: jobs are submitted to it; nothing is started or ended."""

import base64
import io
import shlex
import shutil
import tarfile
import uuid
from collections.abc import Callable
from pathlib import Path

from raytune_yesno.errors import InputError, WorkError
from raytune_yesno.launch.job import HeadUnreachableError, Job, submit_command
from raytune_yesno.launch.launch_state import LaunchState
from raytune_yesno.launch.ray_up import is_dashboard_up
from raytune_yesno.launch.results import copy_home
from raytune_yesno.study.store import STORE

_MARK = "raytune-yesno results follow"
# The log also has the command itself, in which the mark is divided.
_PACK = (
    "cd {folder} 2>/dev/null && ls -A | grep -q . || exit 0; "
    f"echo '{_MARK[:7]}''{_MARK[7:]}'; tar -czf - . | base64 -w 0"
)


class ExistingCluster:
    """A cluster of which only the dashboard's address is known.

    Args:
        launch: the saved state of the launch.
        say: called with each line for the user.
        show: called with the output of the job as it arrives.
    """

    studies = ""

    def __init__(
        self, launch: LaunchState, say: Callable[[str], None], show: Callable[[str], None]
    ) -> None:
        self.launch, self.say, self.show = launch, say, show

    def check(self) -> None:
        """Check that the dashboard answers.

        Raises:
            InputError: it does not.
        """
        if not is_dashboard_up(self.launch.address):
            raise InputError(
                f"--address {self.launch.address}: no Ray dashboard answers there; open an SSH "
                "tunnel, give http://127.0.0.1:8265, and copy the cluster's token to "
                "~/.ray/auth_token"
            )

    def up(self) -> None:
        """Record that the cluster is ready."""
        self.launch.save(phase="ready")

    def submit(self) -> None:
        """Submit the command to the head."""
        submit_command(self.launch, self.launch.address, self.say)

    def follow(self) -> int:
        """Show the output of the job until it ends; return its exit code."""
        job = Job(self.launch.address, self.launch.submission)
        while True:
            try:
                exit_code = job.follow(self.show)
                break
            except HeadUnreachableError:
                # If only the connection broke, the job runs on, and would refuse a second one.
                if not is_dashboard_up(self.launch.address):
                    raise
        self.launch.save(phase="ended", exit_code=exit_code)
        return exit_code

    def recover(self) -> None:
        """Submit the command again: it resumes its work."""
        launch = self.launch
        if not is_dashboard_up(launch.address):
            raise WorkError(f"{launch.address}: no answer; the results are in {launch.study} there")
        self.submit()

    def fetch(self) -> None:
        """Copy the results to this machine.

        They are read from their URI, from the folder if this machine reaches it too, or else from
        the log of a job that packs them.
        """
        copy_home(self.launch, self.say, self._copy)

    def _copy(self, out: Path) -> None:
        launch = self.launch
        if (Path(launch.study) / STORE).exists():
            shutil.copytree(launch.study, out, dirs_exist_ok=True)
            return
        empty = launch.folder / "empty"
        empty.mkdir(exist_ok=True)
        job = Job(launch.address, f"fetch-{uuid.uuid4().hex[:8]}")
        job.submit(_PACK.format(folder=shlex.quote(launch.study)), empty)
        printed: list[str] = []
        exit_code = job.follow(printed.append)
        _, mark, packed = "".join(printed).rpartition(_MARK)
        try:
            if exit_code:
                raise ValueError
            if mark:
                with tarfile.open(fileobj=io.BytesIO(base64.b64decode(packed.strip()))) as archive:
                    archive.extractall(out, filter="data")
        except (ValueError, EOFError, tarfile.TarError):
            raise WorkError(
                f"{launch.study}: cannot be read on the cluster; copy it by hand"
            ) from None

    def end_all(self) -> list[str]:
        """Return that nothing still runs: this cluster is not ended here."""
        return []

    def down(self) -> None:
        """Stop the submitted job if it still runs; leave the cluster alone."""
        if self.launch.phase == "submitted":
            Job(self.launch.address, self.launch.submission).stop()
