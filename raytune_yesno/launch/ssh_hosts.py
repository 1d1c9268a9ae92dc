"""Machines reached by SSH: what runs there, whether they fit together, and an end of Ray."""

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
"""Where a definition makes the environment of a node."""
# The names under which Ray's processes that outlive a command stand in the process table.
_RAY = r"(gcs_server|raylet|monitor\.py|dashboard\.py|dashboard_agent|default_worker\.py|ray::)"
# A bracket keeps the pattern from finding the shell that holds it.
_FIND = f"pgrep -af '{_RAY}' | grep -Ev 'pgrep|grep|bash -c|sh -c' | cut -c1-120"
_STOP = f"PATH={ENV}/bin:$PATH; command -v ray >/dev/null && ray stop --grace-period 10"
_PYTHON = f"for p in {ENV}/bin/python python{{}} python3; do " + (
    "command -v $p >/dev/null && $p -c 'import sys; print(*sys.version_info[:2], sep=\".\")' "
    "&& break; done"
)


@dataclass(frozen=True)
class Answer:
    """What a command on a host came to."""

    exit_code: int
    output: str

    @property
    def last_line(self) -> str:
        return last_line(self.output) or f"exit code {self.exit_code}"


@dataclass(frozen=True)
class Hosts:
    """The machines of an on-premises cluster, the head first."""

    addresses: tuple[str, ...]
    auth: Mapping[str, Any]

    @classmethod
    def of(cls, definition: Mapping[str, Any]) -> "Hosts":
        """Return the hosts that a definition of provider ``local`` names."""
        provider = definition["provider"]
        head = provider.get("external_head_ip") or provider["head_ip"]
        return cls((head, *provider["worker_ips"]), definition.get("auth") or {})

    def run(self, address: str, command: str, timeout_s: float = 60) -> Answer:
        """Run a shell command on a host; exit code 255 where SSH itself failed."""
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
            return Answer(255, f"no answer within {timeout_s:.0f} s")
        return Answer(done.returncode, done.stdout + done.stderr)

    def run_all(self, command: str, timeout_s: float = 60) -> dict[str, Answer]:
        """Run a shell command on all hosts at once."""
        with ThreadPoolExecutor(len(self.addresses)) as pool:
            answers = pool.map(
                lambda address: self.run(address, command, timeout_s), self.addresses
            )
            return dict(zip(self.addresses, answers, strict=True))

    def find_ray(self) -> dict[str, Answer]:
        """Return, of each host, Ray's processes there; exit code 255 where that is not known."""
        return self.run_all(f"{_FIND}; true")

    def stop_ray(self) -> None:
        """End Ray on all hosts, the head first: it would start the workers again."""
        for address in self.addresses[:1]:
            # What Ray's launcher noted on the head of workers that run holds no longer.
            self.run(address, f"{_STOP}; rm -f /tmp/ray/cluster-*.state /tmp/ray/cluster-*.lock")
        with ThreadPoolExecutor(len(self.addresses)) as pool:
            list(pool.map(lambda address: self.run(address, _STOP), self.addresses[1:]))


def check_hosts(hosts: Hosts, studies: str, python: str, probe: str) -> Iterable[str]:
    """Yield what keeps the hosts from being a cluster, a line each.

    Args:
        studies: the folder that all must reach; a URI is not looked at.
        python: the version that all must have.
        probe: a name for a file there, that nobody else uses.
    """
    reached = []
    for address, answer in hosts.run_all("true").items():
        if answer.exit_code:
            yield f"{address}: SSH does not let us in ({answer.last_line}); see auth in the YAML"
        else:
            reached.append(address)
    if len(reached) < len(hosts.addresses):
        return
    yield from _each(hosts.find_ray(), lambda answer: answer.output.strip(), _describe_running)
    yield from _each(
        hosts.run_all(_PYTHON.format(python)),
        lambda answer: answer.last_line != python,
        lambda answer: f"Python {python} is needed there, found: {answer.last_line}",
    )
    yield from _each(
        hosts.run_all("command -v rsync"),
        lambda answer: answer.exit_code,
        lambda answer: "rsync is missing there; install it",
    )
    if is_remote(studies):
        return
    folder = _quote(studies)
    made = hosts.run(hosts.addresses[0], f"mkdir -p {folder} && touch {folder}/{probe}")
    if made.exit_code:
        yield f"{hosts.addresses[0]}: {studies} cannot be written there ({made.last_line})"
        return
    yield from _each(
        hosts.run_all(f"test -w {folder}/{probe}"),
        lambda answer: answer.exit_code,
        lambda answer: (
            f"{studies} is not the head's folder there, or cannot be written; trials save their "
            "checkpoints in it, so it must be one that all hosts share"
        ),
    )
    hosts.run(hosts.addresses[0], f"rm -f {folder}/{probe}")


def _each(
    answers: Mapping[str, Answer],
    is_bad: Callable[[Answer], object],
    describe: Callable[[Answer], str],
) -> Iterable[str]:
    for address, answer in answers.items():
        if is_bad(answer):
            yield f"{address}: {describe(answer)}"


def _describe_running(answer: Answer) -> str:
    lines = answer.output.strip().splitlines()
    return f"Ray runs there already ({len(lines)} processes, {lines[0][:60]}…); --down ends it"


def _quote(path: str) -> str:
    return "~/" + shlex.quote(path[2:]) if path.startswith("~/") else shlex.quote(path)
