"""The checks of ``doctor``."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from raytune_yesno.commands.settings import DEFAULT_DATA
from raytune_yesno.errors import InputError, quote
from raytune_yesno.text import plural

Status = Literal["ok", "warn", "problem"]


@dataclass(frozen=True)
class Check:
    """The result of a check.

    Attributes:
        name: what was checked.
        status: ``ok``, ``warn`` or ``problem``.
        said: what was found.
        todo: what to do about it; empty if nothing.
    """

    name: str
    status: Status
    said: str
    todo: str = ""

    def __str__(self) -> str:
        todo = f"; {self.todo}" if self.todo else ""
        return f"{self.status:<8}{self.name}: {self.said}{todo}"


def examine_machine(
    data: str | None = None, task: str | None = None, *, skip_bad: bool = False
) -> Iterator[Check]:
    """Yield the checks that need no cluster: versions, token file, task, data.

    Args:
        data: the data, as in ``--data``; None for the default.
        task: a task of the user's own, as in ``--task``; its code is run.
        skip_bad: bad recordings are no problem, as with ``--skip-bad``.
    """
    from raytune_yesno.cluster.probe import describe_node

    versions = describe_node()["versions"]
    missing = [name for name, found in versions.items() if found is None]
    said = ", ".join(f"{name} {found}" for name, found in versions.items() if found)
    if missing:
        lacks = ", ".join(missing)
        yield Check("versions", "problem", f"{lacks} missing", "pip install . in a checkout")
    else:
        yield Check("versions", "ok", said)
    yield examine_token()
    if task:
        yield examine_task(task, data, skip_bad)
    else:
        yield examine_corpus(data or DEFAULT_DATA, skip_bad)


def examine_token() -> Check:
    """Check that only the user can read the token of the user's clusters."""
    from raytune_yesno.cluster.token import token_file

    path = token_file()
    try:
        mode = path.stat().st_mode & 0o777
    except FileNotFoundError:
        return Check("token", "ok", f"there is none yet ({path})")
    except OSError as error:
        return Check("token", "problem", f"{path}: {error.strerror}", "make it readable for you")
    if mode & 0o077:
        return Check(
            "token", "problem", f"{path}: others can read it", f"chmod 600 {quote(str(path))}"
        )
    return Check("token", "ok", f"only the user can read {path}")


def examine_task(task: str, data: str | None, skip_bad: bool = False) -> Check:
    """Check that a task can be imported, configured and sent to workers, and reads its data.

    Args:
        task: the name of the task.
        data: the source of its data; None for the default.
        skip_bad: leave out bad items.
    """
    from raytune_yesno.config import build_config, find_task
    from raytune_yesno.errors import UnfinishedError
    from raytune_yesno.task_registry import TASKS
    from raytune_yesno.tasks.function import OBJECTIVE
    from raytune_yesno.tasks.task import describe_data, find_space, load_data
    from raytune_yesno.tuning.ranks import seal
    from raytune_yesno.user_code import stopped_by_errors

    TASKS.trust(task)
    try:
        with stopped_by_errors(f"{task}: it cannot be used"):
            declared = find_task(task)
            config = build_config({"task": task})
            space = find_space(config)
            if (data or skip_bad) and not declared.load_data:
                raise InputError(f"task {task} reads no data; omit --data and --skip-bad")
            read = load_data(config, data or DEFAULT_DATA, skip_bad=skip_bad)
            found = describe_data(read)
            seal(config)
    except (InputError, UnfinishedError) as error:
        return Check("task", "problem", "; ".join(error.args))
    names = [metric.name for metric in declared.metrics if metric is not OBJECTIVE]
    parts = [f"metrics {', '.join(names) or 'none, give --metric'}"]
    parts.append(f"space {', '.join(space) or 'none, give --space'}")
    parts += [f"data {found['source']} ({found['fingerprint']})"] if found else []
    return Check("task", "ok", f"{task}: {'; '.join(parts)}")


def examine_corpus(data: str, skip_bad: bool = False) -> Check:
    """Check that a corpus exists and is complete. Nothing is downloaded.

    Args:
        data: the corpus, as in ``--data``.
        skip_bad: bad recordings are no problem.
    """
    from raytune_yesno.tasks.speech.download import yesno_folder
    from raytune_yesno.tasks.speech.folder import FOLDER
    from raytune_yesno.tasks.speech.load import check_corpus, describe_missing

    check = f"raytune-yesno corpus check --data {quote(data)}"
    is_cached = data == "yesno" and not os.environ.get("YESNO_ROOT")
    if is_cached and not (yesno_folder() / FOLDER).is_dir():
        fetch = "raytune-yesno corpus fetch, or set YESNO_ROOT"
        return Check("corpus", "warn", "YESNO is not on this machine", fetch)
    try:
        corpus, problems, folder = check_corpus(data)
    except InputError as error:
        return Check("corpus", "problem", str(error), check)
    if corpus is None or (problems and not skip_bad):
        said = f"{len(problems)} problems in {folder}"
        return Check("corpus", "problem", said, check)
    left_out = f", {len(problems)} bad ones left out" if problems else ""
    said = f"{len(corpus)} good recordings in {corpus.source}{left_out}"
    if missing := describe_missing(data, corpus):
        todo = "remove that folder, then raytune-yesno corpus fetch, or set YESNO_ROOT"
        return Check("corpus", "warn", f"{said}, {missing}", todo)
    return Check("corpus", "ok", said)


def examine_cluster(out: str | None) -> Iterator[Check]:
    """Yield the checks of the connected cluster.

    Args:
        out: the folder or URI of a study, as in ``tune --out``; None skips the check of it.
    """
    from raytune_yesno.cluster.nodes import list_nodes

    nodes = list_nodes()
    steps: list[Callable[[], Iterator[Check]]] = [
        lambda: _examine_resources(nodes),
        lambda: _examine_versions(nodes),
        _examine_placement_groups,
        _examine_actors,
        _examine_ports,
    ]
    if out:
        steps.append(lambda: _examine_storage(out, nodes))
    for step in steps:
        yield from step()


def _examine_resources(nodes: list[Any]) -> Iterator[Check]:
    counted = []
    for name in ("CPU", "GPU"):
        total = sum(node.total.get(name, 0) for node in nodes)
        free = sum(node.free.get(name, 0) for node in nodes)
        if total:
            counted.append(f"{free:g} of {total:g} {name} free")
        if name == "CPU" and not free:
            todo = "end the jobs that use them, or wait" if total else "add a node, or wait for one"
            yield Check("resources", "warn", "no CPU is free", todo)
    yield Check("cluster", "ok", f"{plural(len(nodes), 'node')}, {', '.join(counted) or 'no CPU'}")


def _examine_versions(nodes: list[Any]) -> Iterator[Check]:
    from raytune_yesno.cluster.nodes import ask_nodes
    from raytune_yesno.cluster.probe import describe_node

    ours = describe_node()["versions"]
    bad = False
    for node, answer in ask_nodes(nodes, describe_node):
        if isinstance(answer, Exception):
            bad = True
            said = f"no answer ({type(answer).__name__})"
            yield Check(
                "node " + node.name, "problem", said, "check `ray status`; restart Ray there"
            )
            continue
        differing = [
            f"{name} {found or 'missing'} (here {ours[name]})"
            for name, found in answer["versions"].items()
            if found != ours[name]
        ]
        if differing:
            bad = True
            todo = "install the same versions on all nodes"
            yield Check("node " + node.name, "problem", ", ".join(differing), todo)
    if not bad:
        yield Check("nodes", "ok", f"the same versions on all {len(nodes)}")


def _list_ended_jobs() -> set[str]:
    """Return the ids of the cluster's jobs that have ended."""
    from raytune_yesno.cluster.ray_private import state

    return {job["JobID"] for job in state.job_table() if job["IsDead"]}


def _examine_placement_groups() -> Iterator[Check]:
    """Find placement groups of ended jobs: detached ones outlive their job and keep its CPUs."""
    import ray

    dead = _list_ended_jobs()
    # A placement group's id ends with its job's id.
    held = [
        group
        for identity, group in ray.util.placement_group_table().items()
        if group["state"] != "REMOVED" and identity[-8:] in dead
    ]
    if not held:
        yield Check("placement groups", "ok", "none left over")
        return
    cpus = sum(bundle.get("CPU", 0) for group in held for bundle in group["bundles"].values())
    said = f"{len(held)} of ended jobs hold {cpus:g} CPU"
    yield Check("placement groups", "problem", said, "remove them, or restart the cluster")


_RAYS_OWN = {"AutoscalingCoordinator"}  # Ray Train starts it once, for all later jobs


def _examine_actors() -> Iterator[Check]:
    """Find actors of ended jobs: detached actors outlive their job."""
    from raytune_yesno.cluster.ray_private import state

    dead = _list_ended_jobs()
    left = [
        actor
        for actor in state.actor_table(None, None, "ALIVE").values()
        if actor["IsDetached"] and actor["JobID"] in dead and actor["Name"] not in _RAYS_OWN
    ]
    if not left:
        yield Check("actors", "ok", "none left over")
        return
    names = ", ".join(
        f"{actor['Name'] or actor['ActorClassName']} (process {actor['Pid']} on "
        f"{actor['Address']['IPAddress']})"
        for actor in left[:5]
    )
    # Some have no name: for example one of Ray Train's, if a run is killed as it begins.
    todo = "if not needed, end the process there"
    yield Check("actors", "warn", f"{len(left)} detached, of ended jobs: {names}", todo)


def _examine_ports() -> Iterator[Check]:
    from raytune_yesno.cluster.ports import list_open_ports
    from raytune_yesno.cluster.session import asks_for_token

    ports = list_open_ports()
    if not ports:
        yield Check("ports", "ok", "Ray on this machine listens on loopback only")
        return
    said = f"Ray listens on all interfaces of this machine, on {len(ports)} ports"
    if asks_for_token():
        yield Check("ports", "ok", f"{said}; callers need the token")
    else:
        todo = "set RAY_AUTH_MODE=token before `ray start`, or block the ports by a firewall"
        yield Check("ports", "warn", f"{said} and asks for no token", todo)


def examine_storage_here(out: str) -> Iterator[Check]:
    """Yield whether this machine can write to a study's folder or URI."""
    from raytune_yesno.cluster.shared_storage import find_unwritable

    if problem := find_unwritable(out):
        yield Check("storage", "problem", problem, "give a folder or URI that you can write to")
    else:
        yield Check("storage", "ok", f"this machine reads and writes {out}")


def _examine_storage(out: str, nodes: list[Any]) -> Iterator[Check]:
    from raytune_yesno.cluster.shared_storage import find_unreachable

    problems = find_unreachable(out, nodes)
    for problem in problems:
        todo = "give a folder that all nodes share under the same path, or a URI"
        yield Check("storage", "problem", problem, todo)
    if not problems:
        yield Check("storage", "ok", f"{len(nodes)} of {len(nodes)} nodes read and write {out}")
