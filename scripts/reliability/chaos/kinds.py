"""The faults. Each returns a function that tells whether the work has recovered."""

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from raytune_yesno.checkpoint import DESCRIPTION, RESUME, STATE_DICT
from raytune_yesno.study.store import STORE
from reliability.chaos.disk import Disk
from reliability.chaos.study import Study, wait_a_moment
from reliability.chaos.training import Training
from reliability.chaos.work import Recovered

Fault = Callable[[Any, random.Random], Recovered | None]
"""Injects a fault into a study or a training run; returns None if there was nothing to hit."""

_STOP_CODES = {0, 130, 143, 129, -signal.SIGINT, -signal.SIGTERM, -signal.SIGHUP}
_HOG = """\
import sys, time
held = []
while True:
    if len(held) < 60:
        held.append(bytearray(b"x") * 2**28)
    time.sleep(0.05)
"""


def kill_trial(study: Study, draw: random.Random) -> Recovered | None:
    """A trial's process is killed (SIGKILL)."""
    if not (found := study.pick_trial(draw)):
        return None
    trial, pid = found
    recovered = study.next_epoch(trial)
    return recovered if _kill(pid, signal.SIGKILL) else None


def stop_trial(study: Study, draw: random.Random) -> Recovered | None:
    """A trial's process is stopped for up to 5 s (SIGSTOP)."""
    if not (found := study.pick_trial(draw)):
        return None
    trial, pid = found
    recovered = study.next_epoch(trial)
    if not _kill(pid, signal.SIGSTOP):
        return None
    wait_a_moment(draw, 5)
    _kill(pid, signal.SIGCONT)
    return recovered


def starve_trial(study: Study, draw: random.Random) -> Recovered | None:
    """Another program takes the memory, and Ray kills a trial."""
    if not (found := study.pick_trial(draw)):
        return None
    recovered = study.next_epoch()
    watched = set(study.list_running().values()) | {found[1]}
    hog = subprocess.Popen([sys.executable, "-c", _HOG])
    try:
        deadline = time.monotonic() + 60
        while all(_is_alive(pid) for pid in watched):
            if time.monotonic() > deadline or not study.command.is_running:
                return None
            time.sleep(0.01)
    finally:
        hog.kill()
        hog.wait()
    return recovered


def kill_peer(study: Study, draw: random.Random) -> Recovered | None:
    """One of a trial's two data-parallel workers is killed."""
    peers = study.cluster.find("ray::RankActor")
    if not peers or not study.list_running() or study.find_tired():
        return None
    recovered = study.next_epoch()
    return recovered if _kill(draw.choice(peers).pid, signal.SIGKILL) else None


def kill_worker(training: Training, draw: random.Random) -> Recovered | None:
    """One of the data-parallel workers of a run is killed."""
    workers = training.cluster.find("ray::RayTrainWorker", "ray::TrainWorker")
    if not workers:
        return None
    recovered = training.next_epoch()
    return recovered if _kill(draw.choice(workers).pid, signal.SIGKILL) else None


def kill_elastic_node(training: Training, draw: random.Random) -> Recovered | None:
    """A node of an elastic run is killed; once the run continues with fewer, another joins."""
    most = training.cluster.num_nodes * training.cluster.cpus
    training.await_recovery(training.next_epoch_of(most))
    if training.is_finished():
        return None
    (raylet,) = training.cluster.find_raylets()[1:]
    fewer = training.next_epoch_of(most - training.cluster.cpus)
    _kill(raylet.pid, signal.SIGKILL)
    training.await_recovery(fewer)
    recovered = training.next_epoch_of(most)
    training.cluster.join()
    return recovered


def kill_driver(study: Study, draw: random.Random) -> Recovered | None:
    """The command itself is killed, and the study resumed."""
    recovered = study.next_epoch()
    study.command.signal(signal.SIGKILL)
    study.command.wait(30)
    study.resume()
    return recovered


def interrupt(study: Study, draw: random.Random) -> Recovered | None:
    """SIGINT or SIGTERM; the study pauses, and is resumed."""
    recovered = study.next_epoch()
    study.command.signal(draw.choice((signal.SIGINT, signal.SIGTERM)))
    _check_stopped(study)
    return recovered


def interrupt_twice(study: Study, draw: random.Random) -> Recovered | None:
    """SIGINT or SIGTERM, and another within a second; resumed."""
    recovered = study.next_epoch()
    study.command.signal(draw.choice((signal.SIGINT, signal.SIGTERM)))
    wait_a_moment(draw, 1)
    study.command.signal(draw.choice((signal.SIGINT, signal.SIGTERM)))
    _check_stopped(study)
    return recovered


def close_terminal(study: Study, draw: random.Random) -> Recovered | None:
    """The terminal that the command runs in is closed (SIGHUP); resumed from another."""
    recovered = study.next_epoch()
    study.command.close_terminal()
    _check_stopped(study)
    return recovered


def halve_record(study: Study, draw: random.Random) -> Recovered | None:
    """The command is killed while it writes a record, of which a part is on the disk; resumed."""
    study.command.signal(signal.SIGKILL)
    study.command.wait(30)
    store = study.out / STORE
    data = store.read_bytes() if store.exists() else b""
    last = data.rstrip(b"\n").rpartition(b"\n")[2]
    if data.count(b"\n") < 2:
        study.resume()
        return None
    os.truncate(store, len(data) - draw.randint(1, len(last)))
    recovered = study.next_epoch()
    study.resume()
    return recovered


def damage_checkpoint(study: Study, draw: random.Random) -> Recovered | None:
    """A trial's last checkpoint loses its end, or a bit of it flips; then its process is killed."""
    if not (found := study.pick_trial(draw)):
        return None
    trial, pid = found
    saved = [e for e in study.events() if e["event"] == "saved" and e["trial"] == trial]
    if not saved:
        return None
    file = Path(saved[-1]["checkpoint"], draw.choice((STATE_DICT, RESUME, DESCRIPTION)))
    recovered = study.next_epoch(trial)
    if not _kill(pid, signal.SIGSTOP):
        return None
    try:
        data = bytearray(file.read_bytes())
        if draw.random() < 0.5:
            data = data[: draw.randrange(len(data))]
        else:
            data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
        file.write_bytes(data)
    except OSError:  # Tune has just deleted it, for a later one
        _kill(pid, signal.SIGCONT)
        return None
    _kill(pid, signal.SIGKILL)
    return recovered


def kill_node(study: Study, draw: random.Random) -> Recovered | None:
    """A node's raylet is killed, and another node joins."""
    raylets = study.cluster.find_raylets()[1:]
    recovered = study.next_epoch()
    _kill(draw.choice(raylets).pid, signal.SIGKILL)
    study.cluster.join()
    return recovered


def kill_head(study: Study, draw: random.Random) -> Recovered | None:
    """The head's process is killed; the study is resumed on a new cluster."""
    recovered = study.next_epoch()
    study.cluster.find_head().kill()
    code = study.command.wait(200)
    if code == 0:
        return None
    study.cluster.stop()
    study.cluster.start()
    study.resume()
    return recovered


def cut_network(study: Study, draw: random.Random) -> Recovered | None:
    """The network between the nodes is cut for up to a minute; a node given up is replaced."""
    network = study.cluster.network
    assert network
    with network.cut():
        wait_a_moment(draw, 60)
    recovered = study.next_epoch()
    study.cluster.replace_lost()
    return recovered


def fill_disk(study: Study, draw: random.Random) -> Recovered | None:
    """The disk of the study is full for up to 5 s."""
    return _disturb_disk(study, draw, Disk.full)


def protect_disk(study: Study, draw: random.Random) -> Recovered | None:
    """The disk of the study is read-only for up to 5 s."""
    return _disturb_disk(study, draw, Disk.read_only)


def freeze_disk(study: Study, draw: random.Random) -> Recovered | None:
    """Writes to the disk of the study take up to 5 s."""
    return _disturb_disk(study, draw, Disk.frozen)


def unmount_disk(study: Study, draw: random.Random) -> Recovered | None:
    """The disk of the study is gone for up to 5 s."""
    return _disturb_disk(study, draw, Disk.gone)


def _disturb_disk(
    study: Study,
    draw: random.Random,
    trouble: Callable[[Disk], contextlib.AbstractContextManager[None]],
) -> Recovered | None:
    with trouble(Disk(study.out.parent)):
        wait_a_moment(draw, 5)
    return study.next_epoch()


def _check_stopped(study: Study) -> None:
    """Wait for the end of a command that was asked to stop, and resume."""
    code = study.command.wait(90)
    if code not in _STOP_CODES:
        raise TimeoutError(f"exit code {code}: {study.last_line()}")
    if code:  # else it had already ended
        study.resume()


def _kill(pid: int, number: int) -> bool:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
        return True
    return False


def _is_alive(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    return False


FAULTS: dict[str, Fault] = {
    "trial killed": kill_trial,
    "trial stopped": stop_trial,
    "trial out of memory": starve_trial,
    "worker in a trial killed": kill_peer,
    "worker of a run killed": kill_worker,
    "node of an elastic run killed": kill_elastic_node,
    "driver killed": kill_driver,
    "interrupted": interrupt,
    "interrupted twice": interrupt_twice,
    "terminal closed": close_terminal,
    "record half written": halve_record,
    "checkpoint damaged": damage_checkpoint,
    "node killed": kill_node,
    "head killed": kill_head,
    "network cut": cut_network,
    "disk full": fill_disk,
    "disk read-only": protect_disk,
    "disk slow": freeze_disk,
    "disk gone": unmount_disk,
}
