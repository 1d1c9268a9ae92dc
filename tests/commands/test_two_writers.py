"""Two commands on one study or run at once: the second is refused, the first undisturbed."""

import json
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from helpers.holding import holder, read_line
from helpers.hosts import Hosts, run_hosts, wait_until

from raytune_yesno import cli
from raytune_yesno.files.remote import LOCK
from raytune_yesno.study import Study, load
from raytune_yesno.study.store import STORE

SINE = ("train", "--set", "task=sine", "--num-workers", "0")
PLAN = (
    *("tune", "--data", "synthetic:10", "--trials", "3", "--epochs", "3", "--search", "random"),
    *("--scheduler", "fifo", "--set", "channels=4,8", "--set", "hidden_units=16"),
    *("--max-concurrent", "1"),
)
COMPARED = ["trial", "epoch", "train_loss", "valid_loss", "valid_wer"]


def start_here(*words: str) -> "subprocess.Popen[str]":
    """Start a command on this machine."""
    return subprocess.Popen(
        [sys.executable, "-m", "raytune_yesno", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@contextmanager
def running(*words: str) -> Iterator["subprocess.Popen[str]"]:
    """Run a command; kill it if it is still there at the end."""
    with start_here(*words) as process:
        try:
            yield process
        finally:
            process.kill()


class TestOneMachine:
    @pytest.mark.long
    def test_a_second_command_is_refused_in_one_line(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        out = str(tmp_path / "run")
        with running(*SINE, "--epochs", "300000", "--out", out) as first:
            wait_until((tmp_path / "run/last").exists, "an epoch of the first")
            for words in ((*SINE, "--out", out), ("train", "--resume", out)):
                assert cli.main(words) == 2
                (line,) = capsys.readouterr().err.splitlines()
                assert str(first.pid) in line
            assert first.poll() is None
            first.send_signal(signal.SIGINT)
            assert first.wait() == 130
        assert not (tmp_path / "run" / LOCK).exists()

    @pytest.mark.long
    def test_after_a_kill_the_run_is_resumed_at_once(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        out = tmp_path / "run"
        with running(*SINE, "--epochs", "300000", "--out", str(out)) as first:
            wait_until((out / "last/checkpoint.json").exists, "an epoch of the first")
            first.kill()
            with running("train", "--resume", str(out)) as second:
                lines = (out / "history.jsonl").read_text().count("\n")
                wait_until(
                    lambda: (out / "history.jsonl").read_text().count("\n") > lines + 1,
                    "an epoch of the second",
                )
                assert second.poll() is None

    @pytest.mark.parametrize("command", [SINE, PLAN], ids=["train", "tune"])
    def test_a_new_folder_that_another_command_has_begun_is_refused(
        self, command: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        with holder(tmp_path / "new") as first:
            assert read_line(first) == "held"
            assert cli.main([*command, "--out", str(tmp_path / "new")]) == 2
            assert str(first.pid) in capsys.readouterr().err
        assert [path.name for path in (tmp_path / "new").iterdir()] == [LOCK]

    def test_a_folder_that_a_killed_command_has_made_is_as_good_as_new(
        self, tmp_path: Path
    ) -> None:
        with holder(tmp_path / "new") as first:
            assert read_line(first) == "held"
        assert cli.main([*SINE, "--epochs", "1", "--out", str(tmp_path / "new")]) == 0
        assert not (tmp_path / "new" / LOCK).exists()

    def test_bad_usage_leaves_no_folder(self, tmp_path: Path) -> None:
        assert cli.main([*SINE, "--set", "unknown=1", "--out", str(tmp_path / "a/new")]) == 2
        assert list(tmp_path.iterdir()) == []

    def test_two_commands_of_one_second_get_two_folders(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr("time.strftime", lambda *_: "now")
        for _ in range(2):
            assert cli.main([*SINE, "--epochs", "1"]) == 0
        assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == ["now", "now-2"]

    def test_a_study_is_read_while_another_command_writes_it(self, study: Path) -> None:
        with holder(study) as first:
            assert read_line(first) == "held"
            assert cli.main(["report", str(study)]) == 0


OPEN = {"RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0"}  # no route leads there

Start = Callable[..., "subprocess.Popen[str]"]


def try_pair(
    generator: random.Random,
    resumes: bool,
    place: str,
    first: Start,
    second: Start,
    command: tuple[str, ...] = PLAN,
    name: str = STORE,
    within_s: float = 6.0,
) -> None:
    """Start two commands on one place at a random offset; one of them is to be refused.

    Args:
        resumes: whether the second one resumes the work while the first one runs; otherwise both
            begin it.
        command: what begins the work.
        name: the file that is there once it has begun.
        within_s: how long after that it is resumed, at most; less than it takes.
    """
    processes = [first(*command, "--out", place)]
    try:
        if not resumes:
            time.sleep(generator.uniform(0.0, 3.0))  # the offset that is tried, not a wait
            processes.append(second(*command, "--out", place))
        else:
            record = Path(place.removeprefix("file://")) / name
            wait_until(
                lambda: record.exists() or processes[0].poll() is not None, "a record", every_s=0.02
            )
            time.sleep(generator.uniform(0.0, within_s))
            processes.append(second(command[0], "--resume", place))
        told = [process.communicate(timeout=300) for process in processes]
    finally:
        for process in processes:
            process.kill()
    codes = [process.returncode for process in processes]
    assert sorted(codes) == [0, 2], told
    refused = told[codes.index(2)][1]
    assert "Traceback" not in refused
    assert place in refused.splitlines()[-1]


def assert_undisturbed(place: str, alone: Study) -> None:
    """Check that a study equals an undisturbed one, event for event."""
    study = load(place)
    assert study.epochs[COMPARED].equals(alone.epochs[COMPARED])
    assert [trial.attempts for trial in study.trial_list] == [1] * len(alone.trial_list)
    assert study.problems == []
    assert study.refit
    assert alone.refit
    assert study.refit["test"] == alone.refit["test"]
    folder = Path(place.removeprefix("file://"))
    assert count_events(folder) == count_events(alone.path)
    assert not list((folder / LOCK).glob("*"))


def count_events(folder: Path) -> Counter[str]:
    """Count the events of a study by kind, except those that depend on how long trials take."""
    lines = (folder / STORE).read_text().splitlines()
    return Counter(kind for line in lines if (kind := json.loads(line)["event"]) != "saved")


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory, ray_cluster: str) -> Study:
    """Return an undisturbed study."""
    out = tmp_path_factory.mktemp("alone") / "study"
    with start_here(*PLAN, "--out", str(out), "--address", ray_cluster) as process:
        told = process.communicate()
    assert process.returncode == 0, told
    return load(out)


# Half a minute each: CI tries runs on one machine, both of which begin; and below, where a host is
# lost, a study on two hosts.
PAIRS = [pytest.param(1, id="1 pair"), pytest.param(10, id="10 pairs", marks=pytest.mark.slow)]


def read_losses(run: Path) -> list[float]:
    lines = (run / "history.jsonl").read_text().splitlines()
    return [json.loads(line)["train_loss"] for line in lines]


@pytest.mark.long
@pytest.mark.parametrize("pairs", PAIRS)
def test_of_two_runs_at_once_one_is_refused(pairs: int, tmp_path: Path) -> None:
    command = (*SINE, "--epochs", "250")
    with start_here(*command, "--out", str(tmp_path / "alone")) as alone:
        assert alone.wait() == 0
    generator = random.Random(pairs)
    for number in range(pairs):
        folder = tmp_path / str(number)
        try_pair(
            *(generator, bool(number % 2), str(folder), start_here, start_here),
            *(command, "last/checkpoint.json", 0.5),
        )
        assert read_losses(folder) == read_losses(tmp_path / "alone")
        assert not (folder / LOCK).exists()


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.parametrize("prefix", ["", "file://"])
def test_of_two_commands_on_one_machine_one_is_refused(
    prefix: str, alone: Study, tmp_path: Path, ray_cluster: str
) -> None:
    pairs = 10
    generator = random.Random(pairs)

    def start(*words: str) -> "subprocess.Popen[str]":
        return start_here(*words, "--address", ray_cluster)

    for number in range(pairs):
        place = f"{prefix}{tmp_path}/{number}"
        try_pair(generator, bool(number % 2), place, start, start)
        assert_undisturbed(place, alone)


def start_cluster(hosts: Hosts, name: str) -> None:
    """Start a cluster of a host's own, which its commands use one after another."""
    ray = ("ray", "start", "--head", "--num-cpus=2", "--include-dashboard=false")
    size = "--object-store-memory=100000000"
    hosts.check(name, f"{Path(sys.executable).parent}/{ray[0]}", *ray[1:], size, **OPEN)


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosts]:
    """Two hosts with a shared folder, each with a kernel of its own as far as it can tell."""
    work = tmp_path_factory.mktemp("hosts")
    with run_hosts(work, {"a": "10.9.0.1", "b": "10.9.0.2"}) as hosts:
        for name in hosts.addresses:
            kernel = work / f"kernel-{name}"
            kernel.write_text(f"kernel of {name}\n")
            hosts.check(name, "mount", "--bind", str(kernel), "/proc/sys/kernel/random/boot_id")
        yield hosts


@pytest.fixture(scope="module")
def clusters(hosts: Hosts) -> Hosts:
    """The hosts, each with a cluster of its own."""
    for name in hosts.addresses:
        start_cluster(hosts, name)
    return hosts


def start_on(hosts: Hosts, name: str) -> Start:
    """Return what starts a command on a host."""

    def start(*words: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            hosts.command(name, sys.executable, "-m", "raytune_yesno", *words),
            env=hosts.environment(RAY_ADDRESS="auto", **OPEN),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return start


@pytest.mark.cluster
@pytest.mark.slow
def test_of_two_runs_on_two_hosts_one_is_refused(hosts: Hosts) -> None:
    command = (*SINE, "--epochs", "250")
    pairs = 10
    work, generator = hosts.work / "runs", random.Random(pairs)
    with start_on(hosts, "a")(*command, "--out", str(work / "alone")) as alone:
        assert alone.wait() == 0
    for number in range(pairs):
        first, second = (start_on(hosts, name) for name in ("a", "b"))
        folder = work / str(number)
        try_pair(
            *(generator, bool(number % 2), str(folder), first, second),
            *(command, "last/checkpoint.json", 0.5),
        )
        assert read_losses(folder) == read_losses(work / "alone")
        assert not (folder / LOCK).exists()


@pytest.mark.cluster
@pytest.mark.slow
@pytest.mark.parametrize("prefix", ["", "file://"])
def test_of_two_commands_on_two_hosts_one_is_refused(
    prefix: str, alone: Study, clusters: Hosts
) -> None:
    pairs = 10
    hosts, generator = clusters, random.Random(pairs)
    for number in range(pairs):
        place = f"{prefix}{hosts.work}/{prefix[:4]}{pairs}-{number}"
        try_pair(generator, bool(number % 2), place, start_on(hosts, "a"), start_on(hosts, "b"))
        assert_undisturbed(place, alone)


@pytest.mark.cluster
def test_only_after_a_host_is_lost_another_one_resumes_its_study(clusters: Hosts) -> None:
    hosts = clusters
    place = f"file://{hosts.work}/lost"
    words = (sys.executable, "-m", "raytune_yesno")
    long = ("tune", *PLAN[1:4], "1", "--epochs", "2000", *PLAN[7:], "--out", place)
    environment = hosts.environment(RAY_ADDRESS="auto", **OPEN)
    with subprocess.Popen(hosts.command("a", *words, *long), env=environment) as first:
        wait_until(
            lambda: (hosts.work / "lost" / STORE).exists() and len(load(place).epochs) > 3,
            "epochs of the first",
        )
        resume = hosts.command("b", *words, "tune", "--resume", place)
        refused = subprocess.run(resume, env=environment, stderr=subprocess.PIPE, text=True)
        assert refused.returncode == 2, refused.stderr
        assert place in refused.stderr.splitlines()[-1]
        assert first.poll() is None
        hosts.kill("a")
        first.wait()
    second = subprocess.Popen(resume, env=environment)
    try:
        epochs = len(load(place).epochs)
        wait_until(lambda: len(load(place).epochs) > epochs + 3, "epochs of the second")
    finally:
        second.terminate()
        second.wait()


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """Return a study of one trial."""
    events: list[dict[str, Any]] = [
        {"event": "study", "time": 1.0, "format": 1, "slots": 1, "config": {"task": "sine"}},
        {"event": "asked", "time": 2.0, "trial": 0, "point": {"learning_rate": 0.1}},
        {"event": "started", "time": 2.0, "trial": 0, "attempt": 1},
        {
            **{"event": "epoch", "time": 3.0, "trial": 0, "attempt": 1, "epoch": 1},
            **{"valid_loss": 1.0, "seconds": 1.0, "host": "here", "pid": 1},
            **{"began": 2.0, "ended": 3.0},
        },
        {"event": "ended", "time": 4.0, "trial": 0, "status": "done"},
    ]
    folder = tmp_path / "study"
    folder.mkdir()
    (folder / STORE).write_text("".join(json.dumps(event) + "\n" for event in events))
    return folder
