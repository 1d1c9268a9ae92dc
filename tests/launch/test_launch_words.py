"""What a launch submits, submits again and copies home; this machine plays the cluster."""

from pathlib import Path

import pytest
import yaml
from helpers.launched import URL, Head, launch, write
from helpers.readme import ROOT

from raytune_yesno import cli
from raytune_yesno.launch import new_cluster as launched
from raytune_yesno.launch.job import JobLostError
from raytune_yesno.launch.launch_state import LaunchState, find_launch, launch_folder
from raytune_yesno.launch.ray_up import HeadUnreachableError


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


@pytest.mark.parametrize("given", [[], ["--out", "/shared/s"], ["--resume=/shared/s"]])
def test_a_launch_of_an_earlier_version_keeps_its_folder(
    given: list[str], head: Head, own: list[str], tmp_path: Path
) -> None:
    study, words = "/shared/s", ["tune", "--trials", "9", *given]
    state = LaunchState(launch_folder("yesno-onprem"), definition=own[0], study=study)
    state.save(phase="ready", arguments=words, out=str(tmp_path / "out"))
    assert cli.main(["launch", *own, "--attach"]) == 0
    assert head.submitted == [words if given else [*words, "--out", study]]


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
