"""A command on a cluster, as a job of Ray's: submitted, followed, asked for its end."""

import asyncio
import contextlib
import logging
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from raytune_yesno.cluster.autoscaling import BOOTSTRAP, VARIABLE
from raytune_yesno.cluster.proxies import direct_variables
from raytune_yesno.cluster.token import auth_headers
from raytune_yesno.errors import WorkError
from raytune_yesno.launch.packaging import name_commit
from raytune_yesno.launch.ray_up import list_nodes

SILENT_S = 20.0
"""Seconds without an answer after which a connection counts as broken."""
POLL_S = 1.0
# What Ray writes into a job's log before the job does.
_PREFACE = re.compile(
    r"^(\S+ \S+\tINFO job_manager\.py:\d+ -- .*|Running entrypoint for job .*)\n", re.MULTILINE
)


class SilenceError(WorkError):
    """Nobody answers at the dashboard's address: the link is broken, or the head is gone."""


class JobLostError(WorkError):
    """The head answers, and knows nothing of the job: it was started anew."""


class Job:
    """One job of the cluster whose dashboard is at an address."""

    def __init__(self, address: str, submission: str) -> None:
        from ray.job_submission import JobSubmissionClient

        for name in ("ray", "ray.dashboard.modules.dashboard_sdk", "ray.dashboard.modules.job.sdk"):
            logging.getLogger(name).setLevel(logging.WARNING)  # they tell of each upload and socket
        self.address, self.submission = address, submission
        self.shown = 0
        try:
            self.client = JobSubmissionClient(address, headers=auth_headers(address))
        except (ConnectionError, RuntimeError) as error:
            raise SilenceError(f"{address}: {str(error).splitlines()[0]}") from error

    def submit(self, command: str, inputs: Path) -> None:
        """Start the job on the head, in a folder that holds the inputs."""
        nodes = list_nodes(self.address)
        try:
            self.client.submit_job(
                entrypoint=command,
                submission_id=self.submission,
                runtime_env={
                    "working_dir": str(inputs),
                    "env_vars": {VARIABLE: BOOTSTRAP, **name_commit(), **direct_variables(nodes)},
                },
            )
        except RuntimeError as error:
            raise WorkError(f"the job was not taken: {str(error).splitlines()[0]}") from error

    def follow(self, show: Callable[[str], None]) -> int:
        """Show what the job prints until it ends, but for the characters shown; its exit code.

        Raises:
            SilenceError: nobody has answered for a while.
            JobLostError: nobody knows the job.
        """
        silent_since: float | None = None
        while True:
            with contextlib.suppress(Exception):  # many kinds, all of a connection that broke
                asyncio.run(self._tail(show))
            info = self._info()
            if info is None:
                silent_since = silent_since or time.monotonic()
                if time.monotonic() - silent_since > SILENT_S:
                    raise SilenceError(f"the head has not answered for {SILENT_S:.0f} s")
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
        async for text in self.client.tail_job_logs(self.submission):  # from its beginning
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
        """Return what is known of the job; None where there is no answer.

        Raises:
            JobLostError: the head answers and knows nothing of it.
        """
        try:
            return self.client.get_job_info(self.submission)
        except RuntimeError as error:
            if "404" in str(error) or "does not exist" in str(error):
                raise JobLostError("the head was started anew; it knows no such job") from error
            return None
        except Exception:  # of requests and aiohttp, and what lies beneath them
            return None


def _exit_code(info: Any) -> int:
    if info.driver_exit_code is not None:
        return int(info.driver_exit_code)
    return 0 if info.status == "SUCCEEDED" else 1
