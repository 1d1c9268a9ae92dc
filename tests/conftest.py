"""Fixtures that tests share, and the rules that put a test into a tier (see ``scripts/test``)."""

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest
import torch

from raytune_yesno.config import build_config
from raytune_yesno.tasks.speech.corpus import Corpus
from raytune_yesno.tasks.speech.synthetic import synthesize
from raytune_yesno.training.loop import fit

CPU_LIMIT_S = 10.0
"""What a test of the default tier may take; its wall time would depend on other programs."""
GROUPS = ("ray", "cluster")
"""Markers of tests that run one after another: those of ``ray`` share a cluster; ``cluster`` ones
start several nodes, which would be too many at once."""
UNLIMITED = (*GROUPS, "smoke", "browser", "long", "slow")

# A change is judged by the same examples in each run of CI; at a desk they differ from run to run.
hypothesis.settings.register_profile("ours", deadline=None, derandomize="CI" in os.environ)
hypothesis.settings.load_profile("ours")

# Results are the same bits only with the same number of threads. Ray gives its processes one,
# unless the environment says another number.
torch.set_num_threads(1)
os.environ.pop("OMP_NUM_THREADS", None)


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Distribute tests by file (``--dist loadgroup``), except for the groups, which begin first.

    Every other file of ``ray`` is in a second group, which has a cluster of its own.
    """
    groups, ray_files = dict[pytest.Item, str](), dict[Path, int]()
    for item in items:
        if "ray_cluster" in getattr(item, "fixturenames", ()):  # whether marked by hand or not
            item.add_marker("ray")
        group = next((name for name in GROUPS if item.get_closest_marker(name)), str(item.path))
        if group == "ray":
            group = f"ray-{ray_files.setdefault(item.path, len(ray_files)) % 2}"
        item.add_marker(pytest.mark.xdist_group(group))
        groups[item] = group
    counts = Counter(groups.values())
    items.sort(key=lambda item: (groups[item].startswith("/"), -counts[groups[item]]))


def pytest_make_parametrize_id(val: object) -> str | None:
    """Name bytes by their number: the processes have to find the same names of tests.

    libsndfile writes the time into files of floating-point numbers.
    """
    return f"{len(val)} bytes" if isinstance(val, bytes) else None


def pytest_collection_finish(session: pytest.Session) -> None:
    """Stop if pytest-xdist ignores the groups, as its version 3.8 does with pytest 9.2."""
    grouped = "PYTEST_XDIST_WORKER" in os.environ and session.config.getvalue("loadgroup")
    if grouped and session.items and "@" not in session.items[0].nodeid:
        raise pytest.UsageError("this version of pytest-xdist does not distribute by group")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Warn of a test of the default tier that takes long, its child processes included."""
    began = sum(os.times()[:4])
    yield
    spent = sum(os.times()[:4]) - began
    if spent > CPU_LIMIT_S and not any(map(item.get_closest_marker, UNLIMITED)):
        text = f"took {spent:.1f} s of CPU, more than {CPU_LIMIT_S:.0f}: mark it `long`"
        item.warn(pytest.PytestWarning(text))


@pytest.fixture(scope="session")
def small_corpus() -> Corpus:
    """Return 20 synthetic recordings: 8 to train on, 2 to validate on, 10 to test on."""
    return synthesize(20)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a checkpoint that has learnt enough to hear words."""
    folder = tmp_path_factory.mktemp("trained") / "checkpoint"
    quick = {"batch_size": 1, "epochs": 20, "learning_rate": 0.01, "dropout": 0.0}
    config = build_config({"channels": (4, 8), "hidden_units": 32, **quick})
    *_, last = fit(config, synthesize(10))
    last.save(folder)
    return folder


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[str]:
    """Start the cluster that the tests marked `ray` share; return its address.

    Its four CPUs and two GPUs are numbers that Ray counts with, whatever the machine has.
    """
    import ray

    from raytune_yesno.cluster.session import ray_session

    with ray_session("local", num_cpus=4, num_gpus=2):
        yield ray.get_runtime_context().gcs_address


@pytest.fixture
def one_slot(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let studies of this process use one slot, whatever fits the cluster.

    Each slot is a process that has to import torch, for which short trials have no use.
    """
    monkeypatch.setattr("raytune_yesno.tuning.run.count_fitting", lambda config: 1)
