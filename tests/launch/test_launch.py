"""`scripts/launch` without a cluster: what it refuses, what it remembers, what it sends along."""

import stat
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from helpers.readme import ROOT

from raytune_yesno import COMMIT
from raytune_yesno.checkpoint import library_versions
from raytune_yesno.cluster.autoscaling import VARIABLE, list_workers
from raytune_yesno.cluster.token import auth_headers, ensure_token
from raytune_yesno.commands.launch import main
from raytune_yesno.config import build_config
from raytune_yesno.errors import InputError
from raytune_yesno.launch import packaging as ship
from raytune_yesno.launch.launch_state import Launch, find_launch, launch_folder
from raytune_yesno.launch.packaging import gather_inputs, unpack_wheel, write_definition


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give a test a home of its own, for the token and what is remembered."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("XDG_STATE_HOME", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", VARIABLE):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


DASHBOARD = "http://127.0.0.1:8265"
ONPREM = str(ROOT / "cluster/onprem.yaml")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ([], "give a cluster's YAML"),
        ([ONPREM], "what is to be run? give it after --"),
        ([ONPREM, "--", "report", "x"], "'report' cannot be launched"),
        ([ONPREM, "--down", "--", "tune"], "--down takes no command"),
        ([ONPREM, "--check", "--down"], "--check and --down do not go together"),
        ([ONPREM, "--attach"], "nothing of it was begun here"),
        (["none.yaml", "--", "tune"], "none.yaml: it cannot be read"),
        (["--address", "http://127.0.0.1:9", "--", "tune"], "--address: name with --shared"),
        (
            ["--address", "http://127.0.0.1:9", "--shared", "/x", "--", "tune"],
            "no dashboard of Ray's answers there",
        ),
        ([ONPREM, "--check"], "'EDIT-head' is still to be filled in"),
    ],
)
def test_what_cannot_be_is_refused(
    arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    said = capsys.readouterr().err
    assert complaint in said
    assert all(line.startswith("scripts/launch: ") for line in said.splitlines())


def test_help_is_there_at_once() -> None:
    words = [sys.executable, str(ROOT / "scripts/launch"), "--help"]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert "--attach" in done.stdout


def test_a_launch_outlives_its_process(tmp_path: Path) -> None:
    launch = Launch(launch_folder("http://head:8265"), address="http://head:8265")
    launch.save(phase="submitted", submission="x-1", arguments=["tune"])
    assert stat.S_IMODE(launch.folder.stat().st_mode) == 0o700
    assert find_launch("http://head:8265") == launch
    launch.forget()
    assert find_launch("http://head:8265") is None


def test_the_token_is_for_the_user_alone(tmp_path: Path) -> None:
    assert auth_headers(DASHBOARD) == {}
    path = ensure_token()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    token = path.read_text()
    path.chmod(0o644)
    assert ensure_token().read_text() == token
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert auth_headers(DASHBOARD) == {"Authorization": f"Bearer {token}"}


def test_files_of_a_command_travel_with_it(tmp_path: Path) -> None:
    (tmp_path / "study.yaml").write_text("trials: 3\n")
    (tmp_path / "waves").mkdir()
    (tmp_path / "waves/0_1.wav").write_bytes(b"RIFF")
    inputs = tmp_path / "inputs"
    words = ["tune", "--config", str(tmp_path / "study.yaml"), f"--data={tmp_path}/waves"]
    sent = gather_inputs(words, inputs)
    assert sent == ["tune", "--config", "config/study.yaml", "--data=data/waves"]
    assert (inputs / "config/study.yaml").read_text() == "trials: 3\n"
    assert (inputs / "data/waves/0_1.wav").exists()
    assert gather_inputs(["tune", "--data", "synthetic:10"], inputs)[2] == "synthetic:10"
    with pytest.raises(InputError, match="there is no such file here"):
        gather_inputs(["tune", "--space", "none.yaml"], inputs)


def test_the_wheel_and_nothing_else_travels(tmp_path: Path) -> None:
    sent = tmp_path / "sent"
    unpack_wheel(sent)
    names = {path.name for path in sent.iterdir()}
    assert {name.split("-")[0] for name in names} == {"raytune_yesno"}
    assert (sent / "raytune_yesno/report/assets/page.css").exists()


def test_a_job_is_told_its_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ship, "ROOT", tmp_path)
    assert ship.name_commit() == {}

    def git(*words: str) -> str:
        who = ["-c", "user.name=nobody", "-c", "user.email=nobody@localhost"]
        command = ["git", "-C", str(tmp_path), *who, *words]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    git("init")
    (tmp_path / "file").write_text("one")
    git("add", "file")
    git("commit", "-m", "first")
    commit = git("rev-parse", "HEAD")[:12]
    assert ship.name_commit() == {COMMIT: commit}
    (tmp_path / "file").write_text("two")
    assert ship.name_commit() == {COMMIT: f"{commit}-changed"}
    with monkeypatch.context() as told:
        told.setenv(COMMIT, commit)
        assert library_versions()["commit"] == commit


def test_a_definition_gets_the_token_and_whole_paths(tmp_path: Path) -> None:
    target = tmp_path / "cluster.yaml"
    write_definition({"file_mounts": {"~/x": "pyproject.toml"}}, target)
    assert yaml.safe_load(target.read_text())["file_mounts"] == {
        "~/x": str(ROOT / "pyproject.toml"),
        "~/.ray/auth_token": str(tmp_path / ".ray/auth_token"),
    }


def test_a_study_counts_on_workers_that_will_come(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    types = {
        "head": {"resources": {"CPU": 8}, "max_workers": 0},
        "cpu": {"resources": {"CPU": 4}, "max_workers": 2},
        "gpu": {"resources": {"CPU": 2, "GPU": 1}, "max_workers": 5},
    }
    definition = {"head_node_type": "head", "max_workers": 4, "available_node_types": types}
    assert list_workers(definition) == [{"CPU": 4}] * 2 + [{"CPU": 2, "GPU": 1}] * 2
    path = tmp_path / "bootstrap.yaml"
    path.write_text(yaml.safe_dump(definition))

    import ray

    from raytune_yesno.cluster import session

    head = {"Alive": True, "Resources": {"CPU": 0.0}}
    monkeypatch.setattr(ray, "nodes", lambda: [head])
    with pytest.raises(InputError, match="do not fit the cluster"):
        session.count_fitting(build_config({}))
    monkeypatch.setenv(VARIABLE, str(path))
    assert session.count_fitting(build_config({})) == 12
