"""A command on a cluster, as one of Ray's jobs: submit, follow, stop."""

import asyncio
import contextlib
import logging
import re
import shlex
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from raytune_yesno.cluster.autoscaling import DEFINITION_ON_HEAD, DEFINITION_VARIABLE
from raytune_yesno.cluster.proxies import direct_variables
from raytune_yesno.cluster.token import auth_headers
from raytune_yesno.errors import WorkError, first_line
from raytune_yesno.launch.launch_state import LaunchState
from raytune_yesno.launch.packaging import PROGRAM, name_commit
from raytune_yesno.launch.ray_up import HeadUnreachableError, list_node_addresses
from raytune_yesno.study.store import COMMAND_ID

MAX_SILENCE_S = 20.0
"""Seconds without an answer after which the connection counts as broken."""
POLL_S = 1.0
# Lines that Ray itself writes into the log of a job.
_PREFACE = re.compile(
    r"^(\S+ \S+\tINFO job_manager\.py:\d+ -- .*|Running entrypoint for job .*)\n", re.MULTILINE
)


class JobLostError(WorkError):
    """The head answers but does not know the job: it was restarted."""


class Job:
    """A job of the cluster with a given dashboard.

    Args:
        address: the dashboard's URL.
        submission: Ray's id of the job.

    Attributes:
        shown: number of characters of the job's output that were shown.

    Raises:
        HeadUnreachableError: the dashboard does not answer.
    """

    def __init__(self, address: str, submission: str) -> None:
        import requests
        from ray.job_submission import JobSubmissionClient

        for name in ("ray", "ray.dashboard.modules.dashboard_sdk", "ray.dashboard.modules.job.sdk"):
            logging.getLogger(name).setLevel(logging.WARNING)  # they report each upload and socket
        self.address, self.submission = address, submission
        self.shown = 0
        try:
            self.client = JobSubmissionClient(address, headers=auth_headers(address))
        except (ConnectionError, RuntimeError, requests.RequestException) as error:
            raise HeadUnreachableError(f"{address}: {first_line(error)}") from error

    def submit(self, command: str, inputs: Path, command_id: str = "") -> None:
        """Start the job on the head.

        Args:
            command: the shell command.
            inputs: a folder whose content becomes the job's working directory.
            command_id: the same if the command is submitted again; empty if it never is.

        Raises:
            HeadUnreachableError: no answer came; the cluster may have taken the job.
            WorkError: the cluster refused the job.
        """
        import requests

        nodes = list_node_addresses(self.address)
        try:
            self.client.submit_job(
                entrypoint=command,
                submission_id=self.submission,
                runtime_env={
                    "working_dir": str(inputs),
                    "env_vars": {
                        DEFINITION_VARIABLE: DEFINITION_ON_HEAD,
                        **name_commit(),
                        **direct_variables(nodes),
                        **({COMMAND_ID: command_id} if command_id else {}),
                    },
                },
            )
        except RuntimeError as error:
            raise WorkError(
                f"{self.address}: the cluster refused the job: {first_line(error)}"
            ) from error
        except requests.RequestException as error:
            raise HeadUnreachableError(
                f"{self.address}: no answer to the submission: {first_line(error)}"
            ) from error

    def is_known(self) -> bool:
        """Return whether the cluster has taken the job.

        Raises:
            HeadUnreachableError: the dashboard does not answer.
        """
        try:
            if self._info() is None:
                raise HeadUnreachableError(f"{self.address}: the dashboard does not answer")
        except JobLostError:
            return False
        return True

    def follow(self, show: Callable[[str], None]) -> int:
        """Stream the output of the job, from where it was left, until the job ends.

        Returns:
            The exit code of the job.

        Raises:
            HeadUnreachableError: the head has not answered for ``MAX_SILENCE_S``.
            JobLostError: the head does not know the job.
        """
        silent_since: float | None = None
        while True:
            # The client raises many kinds of exceptions for a broken connection.
            with contextlib.suppress(Exception):
                asyncio.run(self._tail(show))
            info = self._info()
            if info is None:
                silent_since = silent_since or time.monotonic()
                if time.monotonic() - silent_since > MAX_SILENCE_S:
                    raise HeadUnreachableError(
                        f"the head has not answered for {MAX_SILENCE_S:.0f} s"
                    )
            else:
                silent_since = None
                if info.status.is_terminal():
                    self._show_rest(show)
                    return _exit_code(info)
            time.sleep(POLL_S)

    def stop(self) -> None:
        """Ask the job to end."""
        with contextlib.suppress(Exception):
            self.client.stop_job(self.submission)

    async def _tail(self, show: Callable[[str], None]) -> None:
        seen = 0
        async for text in self.client.tail_job_logs(self.submission):  # Ray starts at the beginning
            new = text[max(0, self.shown - seen) :]
            seen += len(text)
            if new:
                show(_PREFACE.sub("", new))
                self.shown += len(new)

    def _show_rest(self, show: Callable[[str], None]) -> None:
        with contextlib.suppress(Exception):
            if rest := self.client.get_job_logs(self.submission)[self.shown :]:
                show(_PREFACE.sub("", rest))

    def _info(self) -> Any:
        """Return Ray's information about the job; None if the head does not answer.

        Raises:
            JobLostError: the head does not know the job.
        """
        try:
            return self.client.get_job_info(self.submission)
        except RuntimeError as error:
            if "404" in str(error) or "does not exist" in str(error):
                raise JobLostError(
                    "the head was restarted and does not know the job; resume with --attach"
                ) from error
            return None
        except Exception:  # many kinds, of requests, aiohttp and their dependencies
            return None


def submit_command(launch: LaunchState, address: str, say: Callable[[str], None]) -> None:
    """Submit the command of a launch to a cluster, for the first time or again.

    The words are the same each time: the command continues what it finds in its folder. A job that
    the cluster has taken already, although its answer was lost, is not submitted twice.

    Args:
        launch: the saved state of the launch.
        address: the dashboard's URL.
        say: called with the line for the user.

    Raises:
        HeadUnreachableError: the dashboard does not answer.
        WorkError: the cluster refused the job.
    """
    is_first = not launch.submission
    if is_first:
        launch.save(submission=f"launch-{uuid.uuid4().hex[:8]}")
    job = Job(address, launch.submission)
    if is_first or not job.is_known():
        job.submit(f"{PROGRAM} {shlex.join(launch.arguments)}", launch.inputs, launch.command_id)
    launch.save(phase="submitted")
    say(f"job: {shlex.join(launch.arguments)}")


def _exit_code(info: Any) -> int:
    if info.driver_exit_code is not None:
        return int(info.driver_exit_code)
    return 0 if info.status == "SUCCEEDED" else 1
