"""A cluster of other people: jobs are submitted to it; nothing is started or ended."""

import base64
import hashlib
import io
import re
import shlex
import shutil
import tarfile
import uuid
from collections.abc import Callable
from pathlib import Path

from raytune_yesno.errors import InputError, WorkError
from raytune_yesno.launch.job import Job, JobLostError, submit_command
from raytune_yesno.launch.launch_state import LaunchState
from raytune_yesno.launch.ray_up import HeadUnreachableError, is_dashboard_up
from raytune_yesno.launch.results import copy_home
from raytune_yesno.study.store import STORE

_MARK = "raytune-yesno results"
# The log also has the command itself, in which the mark is divided, and what programs print to
# standard error. Packed to a file first: a pipe hides that tar failed. Its code 1 means that a file
# changed meanwhile.
_PACK = f"""\
mark='{_MARK[:7]}''{_MARK[7:]}'
if cd {{folder}} 2>/dev/null
then found=$(ls -A) || exit
else found=; LC_ALL=C ls {{folder}} 2>&1 | grep -q 'No such file' || exit
fi
[ -n "$found" ] || {{{{ echo "$mark: none"; exit 0; }}}}
packed=$(mktemp) || exit
trap 'rm -f "$packed"' EXIT
tar -czf "$packed" . 2>/dev/null
[ $? -le 1 ] || exit 1
echo "$mark: $(sha256sum <"$packed" | cut -c-64)"
base64 -w 0 "$packed"
echo " $mark end"
"""
_NOTHING = f"{_MARK}: none\n"
_PACKED = re.compile(rf"{_MARK}: ([0-9a-f]{{64}})\n(\S*) {_MARK} end\n")


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

    def recover(self, error: HeadUnreachableError | JobLostError) -> None:
        """Let the command be submitted again, unless its job still runs: it resumes its work.

        Args:
            error: why it is not followed any more.

        Raises:
            WorkError: the dashboard does not answer.
        """
        launch = self.launch
        if not is_dashboard_up(launch.address):
            raise WorkError(
                f"{launch.address}: no answer; the results are in {launch.study} there; once the "
                "cluster is gone, --down forgets the launch"
            ) from error
        launch.save(phase="ready")

    def fetch(self) -> None:
        """Copy the results to this machine.

        They are read from their URI, from the folder if this machine reaches it too and it has the
        record of this launch, or else from the log of a job that packs them.
        """
        copy_home(self.launch, self.say, self._copy)

    def _copy(self, out: Path) -> None:
        launch = self.launch
        record = Path(launch.study) / STORE
        # Another folder of this machine may have the same path.
        if record.is_file() and launch.command_id.encode() in record.read_bytes():
            shutil.copytree(launch.study, out, dirs_exist_ok=True)
            return
        empty = launch.folder / "empty"
        empty.mkdir(exist_ok=True)
        job = Job(launch.address, f"fetch-{uuid.uuid4().hex[:8]}")
        job.submit(_PACK.format(folder=shlex.quote(launch.study)), empty)
        printed: list[str] = []
        exit_code = job.follow(printed.append)
        text = "".join(printed)
        if exit_code:
            raise WorkError("the cluster cannot read all of the results; copy them by hand")
        if _NOTHING in text:
            return  # there is no such folder, or it is empty
        try:
            with tarfile.open(fileobj=io.BytesIO(_unpack(text))) as archive:
                archive.extractall(out, filter="data")
        except (ValueError, tarfile.TarError):
            raise WorkError(
                "the results were damaged on the way here; try again, or copy them by hand"
            ) from None

    def end_all(self) -> list[str]:
        """Return that nothing still runs: this cluster is not ended here."""
        return []

    def down(self) -> None:
        """Stop the submitted job if it still runs; leave the cluster alone."""
        if self.launch.submission and self.launch.phase in ("ready", "submitted"):
            try:
                Job(self.launch.address, self.launch.submission).stop()
                self.say("down: the job was asked to stop; the cluster keeps running")
            except HeadUnreachableError as error:
                self.say(f"the job could not be stopped, if the cluster still exists: {error}")


def _unpack(text: str) -> bytes:
    """Return the archive that ``_PACK`` printed.

    Raises:
        ValueError: it is damaged.
    """
    if not (found := _PACKED.search(text)):
        raise ValueError
    packed = base64.b64decode(found[2], validate=True)
    if hashlib.sha256(packed).hexdigest() != found[1]:
        raise ValueError
    return packed
