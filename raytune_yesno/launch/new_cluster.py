"""The steps of a launch on a new cluster: up, submit, follow, fetch, down.

Three classes share the work. :class:`LaunchedCluster` performs the steps.
:class:`~raytune_yesno.launch.launch_state.LaunchState` records each step on disk, so that another
process can resume or clean up if this one ends early.
:class:`~raytune_yesno.launch.ray_up.RayLauncher` runs Ray's commands (``ray up``, …).
"""

import shlex
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from raytune_yesno.cluster.token import ensure_token
from raytune_yesno.errors import InputError, WorkError
from raytune_yesno.launch.cloud_nodes import list_cloud_nodes
from raytune_yesno.launch.definition import Definition, read_documents
from raytune_yesno.launch.definition_rules import check_definition
from raytune_yesno.launch.existing_cluster import ExistingCluster
from raytune_yesno.launch.job import Job, JobLostError, submit_command
from raytune_yesno.launch.launch_state import LaunchState
from raytune_yesno.launch.packaging import write_definition
from raytune_yesno.launch.ray_up import (
    POLL_S,
    HeadUnreachableError,
    RayLauncher,
    list_node_addresses,
)
from raytune_yesno.launch.results import check_folder, copy_home
from raytune_yesno.launch.ssh_nodes import SshNodes, check_ssh_nodes
from raytune_yesno.launch.versions import PYTHON
from raytune_yesno.text import plural

DOWN_S = 90.0


@dataclass
class LaunchedCluster:
    """A cluster that a launch starts from a definition and ends.

    Attributes:
        launch: the saved state of the launch.
        say: called with each line for the user.
        show: called with the output of the job as it arrives.
        wait_s: seconds that the nodes may take to join.
        shown: number of characters of the job's output that were shown.
    """

    launch: LaunchState
    say: Callable[[str], None]
    show: Callable[[str], None]
    wait_s: float = 900.0
    shown: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self.path = Path(self.launch.definition)
        raw = read_documents(self.path)[0]
        self.definition = Definition(self.path, raw)
        self.launcher = RayLauncher(
            self.launch.cluster_yaml, self.launch.log, provider=self.definition.provider_type
        )

    @property
    def ssh_nodes(self) -> SshNodes | None:
        """The nodes of an on-premises cluster; None in a cloud."""
        is_local = self.definition.provider_type == "local"
        return SshNodes.of(self.definition.raw) if is_local else None

    @property
    def studies(self) -> str:
        """The folder or URI for studies, which all nodes reach."""
        metadata = self.definition.raw.get("metadata") or {}
        return str(metadata.get("studies", ""))

    @property
    def num_nodes(self) -> int:
        """The number of nodes that the definition asks for at the start."""
        if self.ssh_nodes:
            workers = len(self.ssh_nodes.addresses) - 1
            return 1 + min(workers, int(self.definition.raw.get("min_workers", workers)))
        types = self.definition.node_types.values()
        return 1 + sum(int(node_type.get("min_workers", 0)) for node_type in types)

    def check(self) -> None:
        """Check the definition and the nodes before anything is started.

        Raises:
            InputError: all problems, one line each.
        """
        problems = check_definition(self.path)
        if not problems:
            problems += self._check_studies()
        key = self.definition.auth.get("ssh_private_key")
        if key and not Path(str(key)).expanduser().is_file():
            problems.append(
                f"{self.path}: auth.ssh_private_key: {key} does not exist; give your key's path"
            )
        if not problems:
            problems = self._check_nodes()
        if problems:
            raise InputError(*problems)

    def _check_studies(self) -> list[str]:
        name = f"{self.path}: metadata.studies:"
        if not self.studies:
            return [
                f"{name} missing; give a folder or URI that all nodes reach. Trials save their "
                "checkpoints there, and resume from them if a node is lost"
            ]
        try:
            check_folder(name, self.studies)
        except InputError as error:
            return list(error.args)
        return []

    def _check_nodes(self) -> list[str]:
        if self.ssh_nodes:
            return list(
                check_ssh_nodes(self.ssh_nodes, self.studies, PYTHON, f".probe-{uuid.uuid4().hex}")
            )
        try:
            nodes = list_cloud_nodes(self.path)
        except WorkError as error:
            return [f"{self.path}: {error}"]
        if nodes:
            return [
                f"{self.path}: nodes of an earlier cluster run ({', '.join(nodes)}); "
                "end them with --down"
            ]
        return []

    def up(self) -> None:
        """Start the cluster and wait for the nodes that the definition asks for."""
        ensure_token()
        self.launch.save(phase="up")
        write_definition(self.definition.raw, self.launch.cluster_yaml)
        began = time.monotonic()
        self.say(f"up: `ray up {self.path}`, {plural(self.num_nodes, 'node')}")
        self.launcher.up()
        deadline = time.monotonic() + self.wait_s
        with self.launcher.tunnel() as address:
            joined: list[str] = []
            while len(joined) < self.num_nodes:
                now = list_node_addresses(address)
                if now != joined:
                    joined = now
                    self.say(f"up: {len(joined)} of {self.num_nodes} nodes: {', '.join(joined)}")
                if time.monotonic() > deadline:
                    raise WorkError(
                        f"{len(joined)} of {plural(self.num_nodes, 'node')} joined within "
                        f"{self.wait_s:.0f} s; see /tmp/ray/session_latest/logs/monitor.* on the "
                        "head, or raise --wait"
                    )
                time.sleep(POLL_S)
        self.launch.save(phase="ready")
        self.say(f"up: ready after {time.monotonic() - began:.0f} s")

    def submit(self) -> None:
        """Submit the command to the head."""
        with self.launcher.tunnel() as address:
            submit_command(self.launch, address, self.say)
        self.shown = 0

    def follow(self) -> int:
        """Show the output of the job until it ends; reopen the tunnel whenever it breaks.

        Returns:
            The exit code of the job.

        Raises:
            HeadUnreachableError: the head does not answer.
            JobLostError: the head was restarted.
        """
        while True:
            tunnel = self.launcher.tunnel()
            address = tunnel.__enter__()
            job: Job | None = None
            try:
                job = Job(address, self.launch.submission)
                job.shown = self.shown
                exit_code = job.follow(self.show)
                self.launch.save(phase="ended", exit_code=exit_code)
                return exit_code
            except HeadUnreachableError:
                continue  # the laptop slept, or the network failed
            finally:
                self.shown = job.shown if job else self.shown
                tunnel.__exit__(None, None, None)

    def recover(self, error: HeadUnreachableError | JobLostError) -> None:
        """Restart a cluster whose head was lost; the command, submitted again, resumes its work.

        Args:
            error: the reason to restart it.

        Raises:
            WorkError: the head does not answer, but it is not known to be lost. Its study may be
                running.
        """
        if isinstance(error, HeadUnreachableError) and (unsure := self._describe_doubt()):
            raise WorkError(
                f"{error}; {unsure}, so the cluster is left alone: check the network and the "
                "firewall, or end the cluster with --down, which ends its study"
            ) from error
        self.say("the head was lost: restarting the cluster and resuming the work")
        self.end_all()
        self.up()

    def _describe_doubt(self) -> str:
        """Return why a head that does not answer may run all the same; empty if it cannot."""
        if not self.ssh_nodes:
            # As the provider tags it. A cloud that does not answer raises WorkError.
            nodes = list_cloud_nodes(self._started)
            head = next((node for node in nodes if node.endswith("(head)")), "")
            return head and f"the cloud still runs the head, {head}"
        address = self.ssh_nodes.addresses[0]
        answer = self.ssh_nodes.find_ray()[address]
        if answer.exit_code:
            return f"{address} cannot be reached by SSH either ({answer.last_line})"
        return f"Ray still runs on {address}" if answer.output.strip() else ""

    def fetch(self) -> None:
        """Copy the results to this machine."""
        copy_home(self.launch, self.say, self._copy)

    def _copy(self, out: Path) -> None:
        # A folder that cannot be read is not one without results: the command fails.
        find_it = (
            f"if found=$(LC_ALL=C ls -A {shlex.quote(self.launch.study)} 2>&1); "
            "then [ -z \"$found\" ] || echo FO''UND; "
            "else echo \"$found\" | grep 'No such file'; fi"
        )
        if "FOUND" in self.launcher.exec(find_it):
            self.launcher.fetch(self.launch.study, out)

    def down(self) -> None:
        """End everything, and verify that it has ended.

        Raises:
            WorkError: what still runs, or could not be verified.
        """
        began = time.monotonic()
        left = self.end_all()
        if left:
            raise WorkError("still running, or not verified; check and end it by hand:", *left)
        where = (
            f"on {plural(len(self.ssh_nodes.addresses), 'node')}"
            if self.ssh_nodes
            else "in the cloud"
        )
        self.say(f"down: nothing is left {where}, after {time.monotonic() - began:.0f} s")

    @property
    def _started(self) -> Path:
        """The definition as it was started; the user's if nothing was."""
        if not self.launch.cluster_yaml.exists():
            self.launch.save()
            write_definition(self.definition.raw, self.launch.cluster_yaml)
        return self.launch.cluster_yaml

    def end_all(self) -> list[str]:
        """End everything that runs in the cluster; return what did not end."""
        ssh_nodes, started = self.ssh_nodes, self._started
        failure = ""
        if not ssh_nodes or self.launch.phase != "new":
            try:
                self.launcher.down()
            except WorkError as error:
                failure = str(error)  # the head may be gone; what counts is what still runs
        if ssh_nodes:
            ssh_nodes.stop_ray()
        deadline = time.monotonic() + DOWN_S
        while True:
            left = _find_left(ssh_nodes, started)
            if not left or time.monotonic() > deadline:
                return [*left, *([failure] if left and failure else [])]
            time.sleep(POLL_S)


def _find_left(ssh_nodes: SshNodes | None, definition: Path) -> list[str]:
    if not ssh_nodes:
        try:
            return list_cloud_nodes(definition)
        except WorkError as error:
            return [str(error)]
    left = []
    for address, answer in ssh_nodes.find_ray().items():
        if answer.exit_code:
            left.append(f"{address}: not reached, so unknown ({answer.last_line})")
        elif answer.output.strip():
            left.append(f"{address}: {answer.output.strip().splitlines()[0]}")
    return left


def run_to_end(cluster: "LaunchedCluster | ExistingCluster", *, attach: bool) -> int:
    """Run a launch from its current phase to its end.

    Args:
        cluster: the cluster of the launch.
        attach: restart a lost head instead of raising.

    Returns:
        The exit code of the job.
    """
    launch = cluster.launch
    if launch.phase in ("new", "up"):
        if launch.phase == "up":
            cluster.end_all()  # end a cluster that was only partly started
        cluster.up()
    while launch.phase in ("ready", "submitted"):
        try:
            if launch.phase == "ready":
                cluster.submit()
            cluster.follow()
        except (HeadUnreachableError, JobLostError) as error:
            if not attach:
                raise
            cluster.recover(error)
            # Not left to the next round: if this fails too, it is raised, else a cluster that
            # refuses every submission would be restarted for ever.
            cluster.submit()
    if launch.phase == "ended":
        cluster.fetch()
    exit_code = launch.exit_code or 0
    if not launch.keep:
        cluster.down()
        launch.forget()
    return exit_code
