"""Nodes reached by SSH: check them, list their Ray processes, and stop Ray there."""

import shlex
import subprocess
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from raytune_yesno.files.remote import is_remote
from raytune_yesno.text import last_line

CONNECT_S = 10
ENV = "~/raytune-yesno/env"
"""The virtual environment that a definition makes on a node."""
RAY_PROCESS = (
    r"(gcs_server|raylet|ray::"
    r"|-packages/ray/[^ ]*(monitor|dashboard|agent/main|default_worker)\.py)"
)
"""A pattern of the commands of Ray's long-lived processes."""
# Excludes the shells that contain the pattern.
_FIND = f"pgrep -af '{RAY_PROCESS}' | grep -Ev 'pgrep|grep|bash -c|sh -c' | cut -c1-120"
_STOP = f"PATH={ENV}/bin:$PATH; command -v ray >/dev/null && ray stop --grace-period 10"
_PYTHON = f"for p in {ENV}/bin/python python{{}} python3; do " + (
    "command -v $p >/dev/null && $p -c 'import sys; print(*sys.version_info[:2], sep=\".\")' "
    "&& break; done"
)


@dataclass(frozen=True)
class CommandResult:
    """The result of a shell command on a node."""

    exit_code: int
    output: str

    @property
    def last_line(self) -> str:
        """The last line of the output, or the exit code if there is none."""
        return last_line(self.output) or f"exit code {self.exit_code}"


@dataclass(frozen=True)
class SshNodes:
    """The nodes of an on-premises cluster.

    Attributes:
        addresses: their addresses, the head first.
        auth: the section ``auth`` of the definition.
    """

    addresses: tuple[str, ...]
    auth: Mapping[str, Any]

    @classmethod
    def of(cls, definition: Mapping[str, Any]) -> "SshNodes":
        """Return the nodes of a definition with provider ``local``."""
        provider = definition["provider"]
        head = provider.get("external_head_ip") or provider["head_ip"]
        return cls((head, *provider["worker_ips"]), definition.get("auth") or {})

    def run(self, address: str, command: str, timeout_s: float = 60) -> CommandResult:
        """Run a shell command on a node.

        Args:
            address: the node.
            command: a command for bash.
            timeout_s: seconds that it may take.

        Returns:
            Its result; exit code 255 if SSH itself failed.
        """
        auth = self.auth
        words = ["ssh", "-o", "BatchMode=yes", "-o", f"ConnectTimeout={CONNECT_S}"]
        words += ["-o", "StrictHostKeyChecking=accept-new", "-o", "LogLevel=ERROR"]
        if key := auth.get("ssh_private_key"):
            words += ["-i", str(Path(key).expanduser()), "-o", "IdentitiesOnly=yes"]
        if proxy := auth.get("ssh_proxy_command"):
            words += ["-o", f"ProxyCommand={proxy}"]
        user = auth.get("ssh_user")
        words += [f"{user}@{address}" if user else address, f"bash -c {shlex.quote(command)}"]
        try:
            done = subprocess.run(
                words, capture_output=True, text=True, timeout=timeout_s, stdin=subprocess.DEVNULL
            )
        except subprocess.TimeoutExpired:
            return CommandResult(255, f"no answer within {timeout_s:.0f} s")
        return CommandResult(done.returncode, done.stdout + done.stderr)

    def run_all(self, command: str, timeout_s: float = 60) -> dict[str, CommandResult]:
        """Run a shell command on all nodes at the same time; return the results by address."""
        with ThreadPoolExecutor(len(self.addresses)) as pool:
            answers = pool.map(
                lambda address: self.run(address, command, timeout_s), self.addresses
            )
            return dict(zip(self.addresses, answers, strict=True))

    def find_ray(self) -> dict[str, CommandResult]:
        """Return each node's Ray processes, one line each; exit code 255 if unknown."""
        return self.run_all(f"{_FIND}; true")

    def stop_ray(self) -> None:
        """Stop Ray on all nodes, the head first: it would restart the workers."""
        for address in self.addresses[:1]:
            # Ray's launcher saved on the head which workers run; none does now.
            self.run(address, f"{_STOP}; rm -f /tmp/ray/cluster-*.state /tmp/ray/cluster-*.lock")
        with ThreadPoolExecutor(len(self.addresses)) as pool:
            list(pool.map(lambda address: self.run(address, _STOP), self.addresses[1:]))


def check_ssh_nodes(nodes: SshNodes, studies: str, python: str, probe: str) -> Iterable[str]:
    """Yield why the nodes cannot form a cluster, one line each.

    Args:
        nodes: the nodes.
        studies: the folder that all must reach; a URI is not checked.
        python: the version of Python that all must have.
        probe: an unused name for a file in that folder.
    """
    reached = []
    for address, answer in nodes.run_all("true").items():
        if answer.exit_code:
            yield f"{address}: cannot log in by SSH ({answer.last_line}); check auth in the YAML"
        else:
            reached.append(address)
    if len(reached) < len(nodes.addresses):
        return
    yield from _each(nodes.find_ray(), lambda answer: answer.output.strip(), _describe_running)
    yield from _each(
        nodes.run_all(_PYTHON.format(python)),
        lambda answer: answer.last_line != python,
        lambda answer: f"Python {python} is needed, found {answer.last_line}; install it there",
    )
    yield from _each(
        nodes.run_all("command -v rsync"),
        lambda answer: answer.exit_code,
        lambda answer: "rsync is missing; install it there",
    )
    if is_remote(studies):
        return
    folder = shlex.quote(studies)
    made = nodes.run(nodes.addresses[0], f"mkdir -p {folder} && touch {folder}/{probe}")
    if made.exit_code:
        yield (
            f"{nodes.addresses[0]}: {studies}: cannot be written there ({made.last_line}); give "
            "another folder"
        )
        return
    yield from _each(
        nodes.run_all(f"test -w {folder}/{probe}"),
        lambda answer: answer.exit_code,
        lambda answer: (
            f"{studies} is not the head's folder there, or cannot be written; give a folder that "
            "all nodes share, for the checkpoints"
        ),
    )
    nodes.run(nodes.addresses[0], f"rm -f {folder}/{probe}")


def _each(
    answers: Mapping[str, CommandResult],
    is_bad: Callable[[CommandResult], object],
    describe: Callable[[CommandResult], str],
) -> Iterable[str]:
    for address, answer in answers.items():
        if is_bad(answer):
            yield f"{address}: {describe(answer)}"


def _describe_running(answer: CommandResult) -> str:
    lines = answer.output.strip().splitlines()
    return f"Ray already runs there ({len(lines)} processes, {lines[0][:60]}…); end it with --down"
