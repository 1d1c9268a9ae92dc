"""From a cluster's YAML to the results on this machine: up, ship, submit, follow, fetch, down.

Each step records its progress in :mod:`raytune_yesno.launch.launch_state`. If this process ends
early, another one can continue or clean up; the command for that is printed.
"""

import shlex
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from raytune_yesno.cluster.token import ensure_token
from raytune_yesno.errors import InputError, WorkError
from raytune_yesno.files.remote import download, is_remote
from raytune_yesno.launch.cloud_machines import list_machines
from raytune_yesno.launch.definition import Definition, read_documents
from raytune_yesno.launch.existing_cluster import ExistingCluster
from raytune_yesno.launch.job import Job, JobLostError, SilenceError
from raytune_yesno.launch.launch_state import Launch
from raytune_yesno.launch.packaging import PROGRAM, write_definition
from raytune_yesno.launch.ray_up import POLL_S, Launcher, list_nodes
from raytune_yesno.launch.rules import check_definition
from raytune_yesno.launch.ssh_hosts import Hosts, check_hosts
from raytune_yesno.launch.versions import PYTHON
from raytune_yesno.study.mirror import is_study
from raytune_yesno.study.store import STORE

DOWN_S = 90.0


@dataclass
class Cluster:
    """A cluster that a definition describes, and what is done with it.

    Attributes:
        launch: what is remembered of it.
        say: called with each line for people.
        show: called with what the job prints, as it comes.
        wait_s: how long nodes may take to come.
    """

    launch: Launch
    say: Callable[[str], None]
    show: Callable[[str], None]
    wait_s: float = 900.0
    shown: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self.path = Path(self.launch.definition)
        raw = read_documents(self.path)[0]
        self.definition = Definition(self.path, raw)
        self.launcher = Launcher(
            self.launch.cluster_yaml, self.launch.log, provider=self.definition.provider_type
        )

    @property
    def hosts(self) -> Hosts | None:
        """The machines, where they are the user's own; None in a cloud."""
        is_local = self.definition.provider_type == "local"
        return Hosts.of(self.definition.raw) if is_local else None

    @property
    def studies(self) -> str:
        """The folder or URI for studies that all nodes reach."""
        metadata = self.definition.raw.get("metadata") or {}
        return str(metadata.get("studies", ""))

    @property
    def num_nodes(self) -> int:
        """How many nodes are asked for at the start."""
        if self.hosts:
            return len(self.hosts.addresses)
        types = self.definition.node_types.values()
        return 1 + sum(int(node_type.get("min_workers", 0)) for node_type in types)

    def check(self) -> None:
        """Find what would go wrong, before anything is started.

        Raises:
            InputError: with all that was found, a line each.
        """
        problems = check_definition(self.path)
        if not problems and not self.studies:
            problems.append(
                f"{self.path}: metadata.studies: name a folder or URI that all nodes reach; trials "
                "save their checkpoints there, and what is lost with a node goes on from them"
            )
        key = self.definition.auth.get("ssh_private_key")
        if key and not Path(str(key)).expanduser().is_file():
            problems.append(f"{self.path}: auth.ssh_private_key: {key} is not there")
        if not problems:
            problems = self._check_machines()
        if problems:
            raise InputError(*problems)

    def _check_machines(self) -> list[str]:
        if self.hosts:
            return list(check_hosts(self.hosts, self.studies, PYTHON, f".probe-{uuid.uuid4().hex}"))
        try:
            machines = list_machines(self.path)
        except WorkError as error:
            return [f"{self.path}: {error}"]
        if machines:
            return [f"{self.path}: an earlier cluster is there ({', '.join(machines)}); --down"]
        return []

    def up(self) -> None:
        """Start the cluster with the project on it, and wait for the nodes asked for."""
        ensure_token()
        self.launch.save(phase="up")
        write_definition(self.definition.raw, self.launch.cluster_yaml)
        began = time.monotonic()
        self.say(f"up: `ray up {self.path}`, {self.num_nodes} nodes")
        self.launcher.up()
        deadline = time.monotonic() + self.wait_s
        with self.launcher.tunnel() as address:
            there: list[str] = []
            while len(there) < self.num_nodes:
                now = list_nodes(address)
                if now != there:
                    there = now
                    self.say(f"up: {len(there)} of {self.num_nodes} nodes: {', '.join(there)}")
                if time.monotonic() > deadline:
                    raise WorkError(
                        f"{len(there)} of {self.num_nodes} nodes after {self.wait_s:.0f} s; the "
                        "head's /tmp/ray/session_latest/logs/monitor.* says what hinders the others"
                    )
                time.sleep(POLL_S)
        self.launch.save(phase="ready")
        self.say(f"up: ready after {time.monotonic() - began:.0f} s")

    def submit(self) -> None:
        """Start the command on the head; where its study was begun before, that is resumed."""
        launch = self.launch
        words = list(launch.arguments)
        if self._is_begun():
            words = [words[0], "--resume", launch.study, *(["--json"] * ("--json" in words))]
        elif launch.study and not {"--out", "--resume"} & set(words):
            words += ["--out", launch.study]
        command = f"{PROGRAM} {shlex.join(words)}"
        submission = f"{launch.folder.name}-{uuid.uuid4().hex[:8]}"
        with self.launcher.tunnel() as address:
            Job(address, submission).submit(command, launch.inputs)
        launch.save(phase="submitted", submission=submission)
        self.shown = 0
        self.say(f"job: {shlex.join(words)}")

    def _is_begun(self) -> bool:
        if is_remote(self.launch.study):
            return is_study(self.launch.study)
        store = f"{shlex.quote(self.launch.study)}/{STORE}"
        return "BEGUN" in self.launcher.exec(f"test -s {store} && echo BEG''UN || true")

    def follow(self) -> int:
        """Show what the job prints until it ends, over as many tunnels as it takes.

        Raises:
            SilenceError, JobLostError: the head is gone, or was started anew.
        """
        while True:
            try:
                tunnel = self.launcher.tunnel()
                address = tunnel.__enter__()
            except WorkError as error:
                raise SilenceError(str(error)) from error
            job: Job | None = None
            try:
                job = Job(address, self.launch.submission)
                job.shown = self.shown
                exit_code = job.follow(self.show)
                self.launch.save(phase="ended", exit_code=exit_code)
                return exit_code
            except SilenceError:
                continue  # the link may have been broken, by sleep or by the network
            finally:
                self.shown = job.shown if job else self.shown
                tunnel.__exit__(None, None, None)

    def recover(self) -> None:
        """Start a cluster anew whose head was lost, and go on with the study."""
        self.say("the head was lost; starting the cluster anew, the study goes on from its records")
        self.end_all()
        self.up()
        self.submit()

    def fetch(self) -> None:
        """Bring the study home."""
        launch = self.launch
        if not self._is_begun():
            self.say("home: nothing to bring, the command ended before its study began")
        else:
            if is_remote(launch.study):
                download(launch.study, Path(launch.out))
            else:
                self.launcher.fetch(launch.study, Path(launch.out))
            self.say(f"home: {launch.out}")
        launch.save(phase="home")

    def down(self) -> None:
        """End everything, and see that it is ended.

        Raises:
            WorkError: with what is left, or is not known to have ended.
        """
        began = time.monotonic()
        left = self.end_all()
        if left:
            raise WorkError("not everything has ended:", *left)
        where = f"on {len(self.hosts.addresses)} hosts" if self.hosts else "in the cloud"
        self.say(f"down: nothing is left {where}, after {time.monotonic() - began:.0f} s")

    def end_all(self) -> list[str]:
        """End what runs of the cluster; return what does not end."""
        hosts = self.hosts
        if not self.launch.cluster_yaml.exists():
            self.launch.save()
            write_definition(self.definition.raw, self.launch.cluster_yaml)
        failure = ""
        if not hosts or self.launch.phase != "new":
            try:
                self.launcher.down()
            except WorkError as error:
                failure = str(error)  # a head that is gone; what counts is what is left
        if hosts:
            hosts.stop_ray()
        deadline = time.monotonic() + DOWN_S
        while True:
            left = _find_left(hosts, self.launch.cluster_yaml)
            if not left or time.monotonic() > deadline:
                return [*left, *([failure] if left and failure else [])]
            time.sleep(POLL_S)


def _find_left(hosts: Hosts | None, definition: Path) -> list[str]:
    if not hosts:
        try:
            return list_machines(definition)
        except WorkError as error:
            return [str(error)]
    left = []
    for address, answer in hosts.find_ray().items():
        if answer.exit_code:
            left.append(f"{address}: not reached, so not known ({answer.last_line})")
        elif answer.output.strip():
            left.append(f"{address}: {answer.output.strip().splitlines()[0]}")
    return left


def run_to_end(cluster: "Cluster | ExistingCluster", *, attach: bool) -> int:
    """Take a launch from the phase it is in to its end; return the job's exit code."""
    launch = cluster.launch
    if launch.phase in ("new", "up"):
        if launch.phase == "up":
            cluster.end_all()  # what was half started
        cluster.up()
    if launch.phase == "ready":
        cluster.submit()
    while launch.phase == "submitted":
        try:
            cluster.follow()
        except (SilenceError, JobLostError):
            if not attach:
                raise
            cluster.recover()
    if launch.phase == "ended":
        cluster.fetch()
    if not launch.keep:
        cluster.down()
        launch_exit = launch.exit_code
        launch.forget()
        return launch_exit or 0
    return launch.exit_code or 0
