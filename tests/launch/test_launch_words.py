"""What a launch submits, submits again and copies home; this machine plays the cluster."""

import contextlib
import shlex
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from helpers.readme import ROOT

from raytune_yesno import cli
from raytune_yesno.commands import launch as command
from raytune_yesno.launch import cluster as launched
from raytune_yesno.launch import existing_cluster, job
from raytune_yesno.launch.cluster import LaunchedCluster
from raytune_yesno.launch.job import HeadUnreachableError, JobLostError
from raytune_yesno.launch.launch_state import find_launch
from raytune_yesno.launch.ray_up import RayLauncher

URL = "http://127.0.0.1:8265"
PROGRAM = ["python", "-m", "raytune_yesno"]


class Head:
    """A head whose jobs run in shells of this machine, except those of the project.

    Attributes:
        submitted: the words of each job of the project.
        ids: the id of its command that each of them was told.
        work: what a job of the project does; it returns the exit code.
    """

    def __init__(self) -> None:
        self.submitted: list[list[str]] = []
        self.ids: list[str] = []
        self.entrypoint = ""
        self.work: Callable[[], int] = lambda: 0

    def submit(self, job: object, entrypoint: str, inputs: Path, command_id: str = "") -> None:
        self.entrypoint = entrypoint
        if (words := shlex.split(entrypoint))[:3] == PROGRAM:
            self.submitted.append(words[3:])
            self.ids.append(command_id)

    def follow(self, job: object, show: Callable[[str], None]) -> int:
        if shlex.split(self.entrypoint)[:3] == PROGRAM:
            return self.work()
        show(f"Running entrypoint for job x: {self.entrypoint}\n")
        done = subprocess.run(["sh", "-c", self.entrypoint], capture_output=True, text=True)
        show(done.stdout)
        return done.returncode


@pytest.fixture
def head(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Head:
    head = Head()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)

    @contextlib.contextmanager
    def tunnel(launcher: RayLauncher) -> Iterator[str]:
        yield URL

    def run(launcher: RayLauncher, command: str) -> str:
        words = ["bash", "-c", command]
        return subprocess.run(words, capture_output=True, text=True, check=True).stdout

    def fetch(launcher: RayLauncher, remote: str, local: Path) -> None:
        shutil.copytree(remote, local, dirs_exist_ok=True)

    monkeypatch.setattr(job.Job, "__init__", lambda self, address, submission: None)
    monkeypatch.setattr(job.Job, "shown", 0, raising=False)
    monkeypatch.setattr(job.Job, "submit", lambda *given: head.submit(*given))
    monkeypatch.setattr(job.Job, "follow", lambda *given: head.follow(*given))
    monkeypatch.setattr(existing_cluster, "is_dashboard_up", lambda address: True)
    monkeypatch.setattr(command, "unpack_wheel", lambda folder: None)
    for name, fake in {"tunnel": tunnel, "exec": run, "fetch": fetch}.items():
        monkeypatch.setattr(RayLauncher, name, fake)
    monkeypatch.setattr(LaunchedCluster, "check", lambda self: None)
    monkeypatch.setattr(LaunchedCluster, "up", lambda self: self.launch.save(phase="ready"))
    monkeypatch.setattr(LaunchedCluster, "end_all", lambda self: [])
    return head


@pytest.fixture(params=["own", "existing"])
def cluster(request: pytest.FixtureRequest, tmp_path: Path) -> list[str]:
    """Return the words that name a cluster: one that a launch starts, and one that exists."""
    studies = str(tmp_path / "shared")
    if request.param == "existing":
        return ["--address", URL, "--shared", studies]
    definition = yaml.safe_load((ROOT / "cluster/onprem.yaml").read_text())
    definition["metadata"]["studies"] = studies
    path = tmp_path / "cluster.yaml"
    path.write_text(yaml.safe_dump(definition))
    return [str(path)]


def launch(cluster: list[str], out: Path, *words: str) -> int:
    return cli.main(["launch", *cluster, "--out", str(out), "--", *words])


def write(folder: Path, name: str) -> int:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text("{}\n")
    return 0


@pytest.mark.parametrize("resume", [["--resume", "/shared/s"], ["--resume=/shared/s"]])
def test_a_resumed_study_keeps_its_options(
    resume: list[str], head: Head, cluster: list[str], tmp_path: Path
) -> None:
    words = ["tune", *resume, "--add-trials", "16", "--task", "sine"]
    assert launch(cluster, tmp_path / "out", *words) == 0
    assert head.submitted == [words]


def test_a_resumed_study_that_exists_keeps_its_options(
    head: Head, cluster: list[str], tmp_path: Path
) -> None:
    write(tmp_path / "shared/s", "study.jsonl")
    words = ["tune", f"--resume={tmp_path}/shared/s", "--add-trials", "16"]
    assert launch(cluster, tmp_path / "out", *words) == 0
    assert head.submitted == [words]


@pytest.mark.parametrize("begun", [False, True])
@pytest.mark.parametrize(
    "words",
    [["tune", "--task", "sine", "--trials", "9"], ["train", "--epochs", "3"], ["tune", "--fresh"]],
)
def test_recovery_repeats_the_command(
    words: list[str], begun: bool, head: Head, cluster: list[str], tmp_path: Path
) -> None:
    study = tmp_path / "shared/out"

    def lose() -> int:
        if len(head.submitted) > 1:
            return 0
        if begun:
            write(study, "study.jsonl")
        raise JobLostError("the head was restarted")

    head.work = lose
    assert launch(cluster, tmp_path / "out", *words) == 1
    assert cli.main(["launch", *cluster[:2], "--attach"]) == 0
    assert head.submitted == [[*words, "--out", str(study)]] * 2
    first, again = head.ids
    assert first == again != ""


def test_a_broken_connection_repeats_nothing(
    head: Head, cluster: list[str], tmp_path: Path
) -> None:
    answers = iter([HeadUnreachableError("no answer"), 3])

    def answer() -> int:
        if isinstance(found := next(answers), Exception):
            raise found
        return found

    head.work = answer
    assert launch(cluster, tmp_path / "out", "tune") == 3
    assert len(head.submitted) == 1


def test_each_launch_is_another_command(head: Head, cluster: list[str], tmp_path: Path) -> None:
    for name in ("one", "two"):
        assert launch(cluster, tmp_path / name, "tune") == 0
    assert len(set(head.ids)) == 2


@pytest.mark.parametrize("record", ["study.jsonl", "settings.yaml"])
def test_results_are_copied_home(
    record: str, head: Head, cluster: list[str], tmp_path: Path
) -> None:
    head.work = lambda: write(tmp_path / "shared/out", record)
    assert launch(cluster, tmp_path / "out", "train") == 0
    assert (tmp_path / "out" / record).read_text() == "{}\n"
    assert find_launch("yesno-onprem") is find_launch(URL) is None


@pytest.mark.parametrize("exists", [False, True])
def test_a_command_that_wrote_nothing_is_no_failure(
    exists: bool, head: Head, cluster: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> int:
        if exists:
            (tmp_path / "shared/out").mkdir(parents=True)
        return 2

    head.work = fail
    assert launch(cluster, tmp_path / "out", "train", "--epochs", "3") == 2
    assert "nothing to copy" in capsys.readouterr().err
    assert find_launch("yesno-onprem") is find_launch(URL) is None


@pytest.mark.parametrize("words", [["--out", "~/x"], ["--out=~/x"], ["--resume=~/x"], ["--out=x"]])
def test_a_folder_that_the_cluster_would_not_find_is_refused(
    words: list[str],
    head: Head,
    cluster: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert launch(cluster, tmp_path / "out", "tune", *words) == 2
    (line,) = capsys.readouterr().err.splitlines()[-1:]
    assert "absolute path" in line
    assert words[0].partition("=")[0] in line
    assert not head.submitted


@pytest.mark.parametrize("studies", ["~/studies", "studies"])
def test_a_folder_of_studies_that_the_cluster_would_not_find_is_refused(
    studies: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(launched, "check_definition", lambda path: [])
    definition = yaml.safe_load((ROOT / "cluster/onprem.yaml").read_text())
    definition["metadata"]["studies"] = studies
    path = tmp_path / "cluster.yaml"
    path.write_text(yaml.safe_dump(definition))
    for words in ([str(path), "--check"], ["--address", URL, "--shared", studies, "--", "tune"]):
        assert cli.main(["launch", *words]) == 2
        assert f"{studies}: give an absolute path" in capsys.readouterr().err


def test_a_run_at_a_uri_is_refused_before_the_cluster_starts(
    head: Head, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cluster = ["--address", URL, "--shared", "s3://bucket/studies"]
    assert launch(cluster, tmp_path / "out", "train") == 2
    assert "s3://bucket/studies/out" in capsys.readouterr().err
    assert not head.submitted
