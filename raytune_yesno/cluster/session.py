"""Connect to a Ray cluster, or start one on this machine, without log output."""

import contextlib
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from raytune_yesno.cluster.autoscaling import read_addable_nodes
from raytune_yesno.cluster.environment import environment
from raytune_yesno.cluster.loopback import is_on_loopback, on_loopback
from raytune_yesno.cluster.proxies import find_host, reach_directly
from raytune_yesno.cluster.temp_folder import short_temp_folder
from raytune_yesno.cluster.token import NO_DASHBOARD, ensure_token, hide_token
from raytune_yesno.config import Config
from raytune_yesno.errors import InputError, first_line, to_utf8
from raytune_yesno.import_path import WorkerPath

_SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",  # no reports to the internet unless the user asks
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.1",  # default 2 s: each start waits for several
    # Default 60 s: the time that a group waits for a dead node before it counts the nodes again.
    "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "10",
    "RAY_TRAIN_METRICS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}
_LOGGERS = ("ray", "ray.tune", "ray.train", "ray.data")
_SERVICES = ("start_monitor", "start_log_monitor", "start_api_server")
_is_started_here = False  # whether the cluster in use was started by this process


def worker_bundles(config: Config) -> list[dict[str, float]]:
    """Return the resources that a config's workers reserve, one bundle per worker.

    Each worker takes its CPUs, its memory in bytes and, with ``use_gpu``, its share of a GPU. An
    elastic run reserves its minimum number of workers.
    """
    bundle = {"CPU": config.cpus_per_worker}
    if config.use_gpu:
        bundle["GPU"] = config.gpus_per_worker
    if config.memory_per_worker:
        bundle["memory"] = config.memory_per_worker * 1e9
    return [dict(bundle) for _ in range(config.min_workers)]


def count_fitting(config: Config, machine: Mapping[str, float] | None = None) -> int:
    """Return how many worker groups of a config fit the cluster at its largest size.

    An elastic group counts with its minimum number of workers.

    Args:
        config: the config of the groups.
        machine: the resources of the only node of a cluster that is not started yet, see
            :func:`describe_machine`; None for the cluster in use.

    Raises:
        InputError: not even one group fits.
    """
    import ray

    worker = worker_bundles(config)[0]
    nodes = [machine] if machine else [n["Resources"] for n in ray.nodes() if n["Alive"]]
    # A worker runs on one node, a group may span several.
    num_workers = sum(_count_room(worker, nodes))
    if not machine:
        addable = read_addable_nodes()
        # The autoscaler adds the nodes that fit the group best.
        room = sorted(_count_room(worker, addable.resources), reverse=True)
        num_workers = max(num_workers, sum(room[: addable.limit]))
    if num_workers < config.min_workers:
        if "GPU" in worker and not any(node.get("GPU") for node in nodes):
            raise InputError(
                "use_gpu: there is no GPU in this cluster; omit it, or set use_gpu to false"
            )
        wanted = _show_resources(worker)
        found = _show_resources({name: sum(node.get(name, 0) for node in nodes) for name in worker})
        raise InputError(
            f"num_workers: {config.min_workers} workers of {wanted} each do not fit the cluster, "
            f"which has {found} and room for {num_workers}; ask for fewer workers or a larger "
            "cluster"
        )
    return num_workers // config.min_workers


def _show_resources(amounts: Mapping[str, float]) -> str:
    return " and ".join(
        f"{amount / 1e9:.3g} GB of memory" if name == "memory" else f"{amount:g} {name}"
        for name, amount in amounts.items()
    )


def _count_room(worker: Mapping[str, float], nodes: Iterable[Mapping[str, float]]) -> list[int]:
    """Return how many workers fit each node."""
    return [
        min(int(node.get(name, 0) / amount) for name, amount in worker.items()) for node in nodes
    ]


def describe_machine(num_cpus: int | None = None, num_gpus: int | None = None) -> dict[str, float]:
    """Return the resources of a new cluster on this machine, without starting it.

    Args:
        num_cpus: logical CPUs of the cluster; None for all of this machine.
        num_gpus: logical GPUs of the cluster; None for all of this machine.

    Raises:
        InputError: a count is out of range.
    """
    from raytune_yesno.cluster.ray_private import ResourceAndLabelSpec

    _check_counts(num_cpus, num_gpus)
    try:
        known = ResourceAndLabelSpec(num_cpus=num_cpus, num_gpus=num_gpus)
        known = known.resolve(is_head=True, node_ip_address="127.0.0.1")
        return dict(known.to_resource_dict())
    except ValueError as error:
        raise InputError(f"num_cpus, num_gpus: {first_line(error)}") from None


def _check_counts(num_cpus: int | None, num_gpus: int | None) -> None:
    for name, count in (("num_cpus", num_cpus), ("num_gpus", num_gpus)):
        if count is not None and count < 0:
            raise InputError(f"{name}: {count} is out of range; it must be at least 0")


def _check_answers(address: str, source: str) -> None:
    """Raise InputError if nothing listens at HOST:PORT; Ray itself would retry for minutes."""
    if address.startswith("ray://"):
        address = address.removeprefix("ray://").partition("/")[0]
    if address in ("auto", "local") or "://" in address:
        return
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()
    except (OSError, ValueError, OverflowError) as error:
        raise _no_answer(source, error) from error


def _no_answer(source: str, error: Exception) -> InputError:
    """Return the error for an address without a cluster.

    Args:
        source: the address and where it was given.
        error: the failure to connect.
    """
    otherwise = "leave address out"
    if not source.startswith("address"):
        otherwise = "unset RAY_ADDRESS (its cluster may have ended)"
    return InputError(
        f"{source}: no Ray cluster answers there ({first_line(error)}); give the "
        "HOST:PORT that `ray start --head` printed and set RAY_AUTH_MODE as on that machine, or "
        f"{otherwise} to use this machine only"
    )


def check_utf8(*names: str) -> None:
    """Raise InputError if a name is not UTF-8: Ray fails on it with unclear errors."""
    for name in names:
        if to_utf8(name) != name:
            raise InputError(f"{to_utf8(name)}: not UTF-8, which Ray requires; rename it")


@contextmanager
def ray_session(
    address: str | None = None, *, num_cpus: int | None = None, num_gpus: int | None = None
) -> Iterator[None]:
    """Connect to the cluster at ``address``, or start one on this machine and end it afterwards.

    A cluster that is started here listens on the loopback interface only and asks for the user's
    token, unless ``RAY_AUTH_MODE`` says otherwise. The token is made if there is none.

    Args:
        address: as in ``ray.init``; ``auto`` for the cluster that this machine belongs to; None for
            ``$RAY_ADDRESS`` or, if that is not set, a new cluster.
        num_cpus: logical CPUs of a new cluster; None for all of this machine.
        num_gpus: logical GPUs of a new cluster; None for all of this machine.

    Raises:
        InputError: there is no cluster at the address, a count is negative or given for a running
            cluster, the token cannot be written, or the command line is not UTF-8.
    """
    _check_counts(num_cpus, num_gpus)
    check_utf8(*sys.argv)  # Ray passes them on
    _set_defaults()
    import ray

    source = f"address {address}"
    if not address:
        address = os.environ.get("RAY_ADDRESS") or "local"
        source = f"RAY_ADDRESS={address} in the environment"
    is_local = address == "local"
    if not is_local and (num_cpus is not None or num_gpus is not None):
        raise InputError(
            f"num_cpus, num_gpus: {source}: a running cluster has counts of its own; omit them"
        )
    _check_answers(address, source)
    if is_local and _makes_token():
        ensure_token()  # Ray would make one that everybody can read
    else:
        hide_token()
    with contextlib.ExitStack() as closing:
        local: dict[str, Any] = {}
        if is_local:
            folder = closing.enter_context(short_temp_folder())
            local = {"num_cpus": num_cpus, "num_gpus": num_gpus, "include_dashboard": False}
            local |= {"_temp_dir": folder} if folder else {}
        global _is_started_here
        _connect(address, source, is_local, local)
        _is_started_here = is_local
        try:
            yield
        finally:
            _is_started_here = False
            ray.shutdown()


@contextmanager
def joined_session() -> Iterator[None]:
    """Use the cluster that this process has joined by itself, without log output of Ray's."""
    _set_defaults()
    loggers = list(map(logging.getLogger, _LOGGERS))
    before = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.CRITICAL)
        yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)


def _set_defaults() -> None:
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)


def ends_with_driver() -> bool:
    """Return whether this process has started the cluster in use, which then ends with it."""
    return _is_started_here


def _connect(address: str, source: str, is_local: bool, local: dict[str, Any]) -> None:
    import ray

    from raytune_yesno.cluster.ray_private import build_job_config

    terminate = signal.getsignal(signal.SIGTERM)
    try:
        _bypass_proxies(address)
        with (
            on_loopback(is_local or is_on_loopback(address)),
            _local_environment(is_local),
            _without_services(is_local),
        ):
            ray.init(
                address=address,
                job_config=build_job_config(WorkerPath()),
                log_to_driver=False,
                logging_level=logging.ERROR,
                **local,
            )
    except (ConnectionError, ValueError) as error:
        raise _no_answer(source, error) from error
    except ray.exceptions.AuthenticationError as error:
        raise InputError(
            f"{source}: this cluster asks for a token; copy ~/.ray/auth_token from the "
            "machine that made it, and set RAY_AUTH_MODE=token"
        ) from error
    if not is_local:
        reach_directly(*(node["NodeManagerAddress"] for node in ray.nodes()))
    if threading.current_thread() is threading.main_thread():
        # Ray's own handler aborts the process.
        signal.signal(signal.SIGTERM, terminate or signal.SIG_DFL)
    for name in _LOGGERS:
        logging.getLogger(name).setLevel(logging.CRITICAL)


def _bypass_proxies(address: str) -> None:
    """Exempt a cluster's head and this machine's node from proxies, which Ray would use too."""
    from raytune_yesno.cluster.ray_private import services

    reach_directly(find_host(address), services.get_node_ip_address())


@contextmanager
def _local_environment(is_local: bool) -> Iterator[None]:
    """Set variables that the processes of a new local cluster inherit while it starts.

    Such a cluster has no dashboard. It ends with its driver, so Ray Train's preemption watcher is
    off unless the user enables it.
    """
    watcher = "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER"
    changes = {watcher: os.environ.get(watcher, "0"), **NO_DASHBOARD} if is_local else {}
    with environment(changes):
        yield


@contextmanager
def _without_services(is_local: bool) -> Iterator[None]:
    """Start a local cluster without autoscaler, log monitor and API server.

    It has one node, its logs are not forwarded, and it has no dashboard. Each of these processes
    takes 0.5 to 1 s of a core to start, and runs beside the training after that.
    """
    if not is_local:
        yield
        return
    from raytune_yesno.cluster.ray_private import Node

    before = {name: getattr(Node, name) for name in _SERVICES}
    for name in before:
        setattr(Node, name, lambda self, **options: None)
    try:
        yield
    finally:
        for name, method in before.items():
            setattr(Node, name, method)


def asks_for_token() -> bool:
    """Return whether Ray asks for a token in clusters that this process starts or uses."""
    from raytune_yesno.cluster.ray_private import raylet

    return bool(raylet.get_authentication_mode() == raylet.AuthenticationMode.TOKEN)


def _makes_token() -> bool:
    """Return whether Ray would make a missing token when it starts a cluster."""
    mode = os.environ.get("RAY_AUTH_MODE", "token")
    return mode.lower() == "token" and "RAY_AUTH_TOKEN" not in os.environ
