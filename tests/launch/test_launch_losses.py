"""A launch that loses its connection, its head, an answer, or the results on their way."""

import base64
import hashlib
import os
import stat
from pathlib import Path

import pytest
import requests
from helpers.launched import URL, Head, launch, write

from raytune_yesno import cli
from raytune_yesno.errors import WorkError
from raytune_yesno.files.lock import hold
from raytune_yesno.launch import existing_cluster, job
from raytune_yesno.launch import new_cluster as launched
from raytune_yesno.launch.existing_cluster import ExistingCluster
from raytune_yesno.launch.job import Job, JobLostError
from raytune_yesno.launch.launch_state import LaunchState, find_launch, launch_folder
from raytune_yesno.launch.new_cluster import LaunchedCluster
from raytune_yesno.launch.ray_up import HeadUnreachableError
from raytune_yesno.launch.ssh_nodes import CommandResult, SshNodes

ONPREM = "yesno-onprem"


def save_unreachable(
    own: list[str], tmp_path: Path, phase: str, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Save a launch in a phase; its head does not answer the first try of a step."""
    tried, answers = getattr(LaunchedCluster, step), [HeadUnreachableError("no answer")]

    def fail_once(cluster: LaunchedCluster) -> object:
        if answers:
            raise answers.pop()
        return tried(cluster)

    monkeypatch.setattr(LaunchedCluster, step, fail_once)
    study, out = str(tmp_path / "shared/out"), str(tmp_path / "out")
    state = LaunchState(launch_folder(ONPREM), definition=own[0], study=study, out=out)
    state.save(phase=phase, arguments=["tune"], submission="launch-1", command_id="1")


def watch_ends(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    ended: list[str] = []
    monkeypatch.setattr(LaunchedCluster, "end_all", lambda self: ended.append("cluster") or [])
    return ended


@pytest.mark.parametrize(
    ("answer", "is_lost"),
    [
        (CommandResult(255, "Connection timed out"), False),
        (CommandResult(0, "17 /usr/lib/ray/gcs_server --x"), False),
        (CommandResult(0, ""), True),
    ],
)
def test_only_a_head_without_ray_is_restarted_on_premises(
    answer: CommandResult,
    is_lost: bool,
    head: Head,
    own: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    save_unreachable(own, tmp_path, "submitted", "follow", monkeypatch)
    ended = watch_ends(monkeypatch)
    monkeypatch.setattr(SshNodes, "find_ray", lambda self: dict.fromkeys(self.addresses, answer))
    exit_code = cli.main(["launch", *own, "--keep", "--attach"])
    assert exit_code == (0 if is_lost else 1)
    assert bool(ended) == is_lost
    if not is_lost:
        said = capsys.readouterr().err
        assert "firewall" in said
        assert "--down" in said
        assert not head.submitted


@pytest.mark.parametrize(
    ("nodes", "is_lost"), [(["i-1 (head)", "i-2 (worker)"], False), (["i-2 (worker)"], True)]
)
def test_only_a_head_that_the_cloud_lacks_is_restarted(
    nodes: list[str],
    is_lost: bool,
    head: Head,
    own: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    save_unreachable(own, tmp_path, "submitted", "follow", monkeypatch)
    ended = watch_ends(monkeypatch)
    monkeypatch.setattr(LaunchedCluster, "ssh_nodes", None)
    monkeypatch.setattr(launched, "list_cloud_nodes", lambda path: nodes)
    assert cli.main(["launch", *own, "--keep", "--attach"]) == (0 if is_lost else 1)
    assert bool(ended) == is_lost


def test_a_cloud_that_does_not_answer_ends_no_cluster(
    head: Head, own: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(path: Path) -> list[str]:
        raise WorkError("no credentials")

    save_unreachable(own, tmp_path, "submitted", "follow", monkeypatch)
    ended = watch_ends(monkeypatch)
    monkeypatch.setattr(LaunchedCluster, "ssh_nodes", None)
    monkeypatch.setattr(launched, "list_cloud_nodes", fail)
    assert cli.main(["launch", *own, "--attach"]) == 1
    assert not ended


def test_a_head_that_was_lost_before_the_job_is_restarted(
    head: Head, own: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_unreachable(own, tmp_path, "ready", "submit", monkeypatch)
    ended = watch_ends(monkeypatch)
    monkeypatch.setattr(
        SshNodes, "find_ray", lambda self: {self.addresses[0]: CommandResult(0, "")}
    )
    assert cli.main(["launch", *own, "--keep", "--attach"]) == 0
    assert ended
    assert len(head.submitted) == 1


def test_a_head_that_was_lost_after_the_job_leaves_its_results(
    head: Head,
    own: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(cluster: LaunchedCluster, out: Path) -> None:
        raise WorkError("`ray exec` failed")

    save_unreachable(own, tmp_path, "ended", "submit", monkeypatch)
    monkeypatch.setattr(LaunchedCluster, "_copy", fail)
    assert cli.main(["launch", *own, "--attach"]) == 1
    assert f"{tmp_path}/shared/out" in capsys.readouterr().err


@pytest.mark.parametrize("is_taken", [False, True])
def test_a_submission_without_an_answer_is_not_repeated(
    is_taken: bool,
    head: Head,
    cluster: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    submit = head.submit

    def lose_answer(*given: object) -> None:
        if is_taken:
            submit(*given)  # type: ignore[arg-type]
        raise HeadUnreachableError("no answer")

    monkeypatch.setattr(head, "submit", lose_answer)
    assert launch(cluster, tmp_path / "out", "tune") == 1
    monkeypatch.setattr(head, "submit", submit)
    head.knows = is_taken
    assert cli.main(["launch", *cluster[:2], "--attach"]) == 0
    assert len(head.submitted) == 1


@pytest.mark.parametrize("error", [requests.ConnectionError(), requests.ReadTimeout()])
def test_a_request_without_an_answer_means_that_the_head_is_unreachable(
    error: Exception, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from ray.job_submission import JobSubmissionClient

    def fail(*given: object, **options: object) -> None:
        raise error

    monkeypatch.setattr(JobSubmissionClient, "__init__", fail)
    with pytest.raises(HeadUnreachableError):
        Job(URL, "launch-1")
    monkeypatch.setattr(JobSubmissionClient, "__init__", lambda *given, **options: None)
    monkeypatch.setattr(JobSubmissionClient, "submit_job", fail)
    monkeypatch.setattr(job, "list_node_addresses", lambda address: [])
    with pytest.raises(HeadUnreachableError):
        Job(URL, "launch-1").submit("tune", tmp_path)


@pytest.mark.parametrize("command", ["ls", "tar"])
def test_what_programs_on_the_cluster_report_does_not_damage_the_results(
    command: str,
    head: Head,
    existing: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    content = os.urandom(100_000)
    talkative = tmp_path / "bin" / command
    talkative.parent.mkdir()
    talkative.write_text(f'#!/bin/sh\n/bin/{command} "$@" && echo "x changed" >&2\n')
    talkative.chmod(0o755)
    monkeypatch.setenv("PATH", f"{talkative.parent}:{os.environ['PATH']}")

    def work() -> int:
        write(tmp_path / "shared/out", "study.jsonl")
        (tmp_path / "shared/out/weights").write_bytes(content)
        return 0

    head.work = work
    assert launch(existing, tmp_path / "out", "tune") == 0
    assert (tmp_path / "out/weights").read_bytes() == content


@pytest.mark.parametrize("obstacle", ["folder", "tar"])
def test_results_that_cannot_be_read_are_no_success(
    obstacle: str,
    head: Head,
    existing: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if obstacle == "tar":  # as for a file that it cannot read
        failing = tmp_path / "bin/tar"
        failing.parent.mkdir()
        failing.write_text('#!/bin/sh\n/bin/tar "$@"\nexit 2')
        failing.chmod(0o755)
        monkeypatch.setenv("PATH", f"{failing.parent}:{os.environ['PATH']}")
        head.work = lambda: write(tmp_path / "shared/out", "study.jsonl")
    else:  # a file in its place, which root cannot enter either
        head.work = lambda: write(tmp_path / "shared", "out")
    assert launch(existing, tmp_path / "out", "tune") == 1
    assert f"{tmp_path}/shared/out" in capsys.readouterr().err
    state = find_launch(URL)
    assert state
    assert state.phase == "ended"


def test_an_own_cluster_whose_results_cannot_be_read_is_not_taken_down(
    head: Head, own: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing = tmp_path / "bin/ls"  # root may read every folder
    failing.parent.mkdir()
    failing.write_text("#!/bin/sh\necho 'ls: Permission denied' >&2\nexit 2\n")
    failing.chmod(0o755)

    def work() -> int:
        monkeypatch.setenv("PATH", f"{failing.parent}:{os.environ['PATH']}")
        return write(tmp_path / "shared/out", "study.jsonl")

    head.work = work
    assert launch(own, tmp_path / "out", "tune") == 1
    state = find_launch(ONPREM)
    assert state
    assert state.phase == "ended"


@pytest.mark.parametrize(
    "damage", [lambda text: text[:-9], lambda text: text.replace(b"A", b"B"), lambda text: b""]
)
def test_results_that_were_damaged_on_the_way_are_no_success(
    damage: object, head: Head, existing: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed = base64.b64encode(bytes(1000))
    digest = hashlib.sha256(bytes(1000)).hexdigest().encode()
    mark = existing_cluster._MARK.encode()
    printed = damage(mark + b": " + digest + b"\n" + packed + b" " + mark + b" end\n")  # type: ignore[operator]
    study, out = str(tmp_path / "none"), str(tmp_path / "out")
    state = LaunchState(launch_folder(URL), address=URL, study=study, out=out, command_id="1")
    state.save(phase="ended")
    monkeypatch.setattr(Job, "follow", lambda self, show: show(printed.decode()) or 0)
    with pytest.raises(WorkError, match="damaged"):
        ExistingCluster(state, print, print).fetch()
    assert state.phase == "ended"


def test_a_folder_of_this_machine_is_not_taken_for_the_results(
    head: Head, existing: list[str], tmp_path: Path
) -> None:
    here = tmp_path / "shared/out"
    write(here, "study.jsonl")  # the record of another study
    (here / "mine").touch()
    state = LaunchState(launch_folder(URL), address=URL, study=str(here), command_id="abc")
    state.save(phase="ended", out=str(tmp_path / "out"))
    assert cli.main(["launch", "--address", URL, "--attach"]) == 0
    assert head.entrypoint  # a job on the cluster has packed them


@pytest.mark.parametrize("out", ["/proc/out", "file/out"])
def test_a_folder_that_cannot_be_written_is_refused_before_the_work(
    out: str,
    head: Head,
    cluster: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "file").touch()
    assert launch(cluster, tmp_path / out, "tune") == 2
    assert "--out" in capsys.readouterr().err
    assert not head.submitted


def test_results_can_be_fetched_to_another_folder(
    head: Head, cluster: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def work() -> int:
        (tmp_path / "gone").write_text("")  # where the folder would be made
        return write(tmp_path / "shared/out", "study.jsonl")

    head.work = work
    assert launch(cluster, tmp_path / "gone/out", "tune") == 1
    assert "--out" in capsys.readouterr().err
    again = ["launch", *cluster[:2], "--attach", "--out", str(tmp_path / "other")]
    assert cli.main(again) == 0
    assert (tmp_path / "other/study.jsonl").exists()


def test_a_launch_whose_cluster_is_gone_can_be_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    address = "http://127.0.0.1:1"
    state = LaunchState(launch_folder(address), address=address, submission="launch-1")
    state.save(phase="submitted")
    assert cli.main(["launch", "--address", address, "--down"]) == 0
    assert "could not be stopped" in capsys.readouterr().err
    assert find_launch(address) is None
    assert not launch_folder(address).exists()


def test_only_a_launch_can_be_ended_on_an_existing_cluster(
    head: Head, existing: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def lose() -> int:
        raise JobLostError("the head was restarted")

    down = ["launch", *existing[:2], "--down"]
    assert cli.main(down) == 2
    assert "no unfinished launch" in capsys.readouterr().err
    head.work = lose
    assert launch(existing, tmp_path / "out", "tune") == 1
    capsys.readouterr()
    assert cli.main(down) == 0
    said = capsys.readouterr().err
    assert "the job was asked to stop" in said
    assert f"{tmp_path}/shared/out" in said
    assert find_launch(URL) is None
    assert cli.main(down) == 2


@pytest.mark.parametrize("words", [["--attach"], ["--down"], ["--", "tune"]])
def test_one_command_at_a_time_has_a_launch(
    words: list[str],
    head: Head,
    own: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    save_unreachable(own, tmp_path, "submitted", "follow", monkeypatch)
    with hold(launch_folder(ONPREM), print):
        assert cli.main(["launch", *own, *words]) == 2
    assert f"process {os.getpid()}" in capsys.readouterr().err
    assert find_launch(ONPREM) is not None
    assert not head.submitted


def test_only_the_user_can_read_the_files_of_a_launch(
    head: Head, cluster: list[str], tmp_path: Path
) -> None:
    modes: list[int] = []

    def look() -> int:
        (folder,) = (tmp_path / "home/.local/state/raytune-yesno").iterdir()
        modes.append(stat.S_IMODE(folder.stat().st_mode))
        return 0

    head.work = look
    assert launch(cluster, tmp_path / "out", "tune") == 0
    assert modes == [0o700]
    assert list((tmp_path / "home/.local/state/raytune-yesno").iterdir()) == []
