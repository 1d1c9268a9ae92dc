"""``raytune-yesno launch`` without a cluster: refused usage, saved state, and what it sends."""

import asyncio
import contextlib
import json
import os
import re
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from helpers.readme import ROOT
from helpers.shadow import write_program

from raytune_yesno import cli
from raytune_yesno.cluster.autoscaling import DEFINITION_VARIABLE
from raytune_yesno.cluster.token import auth_headers, ensure_token
from raytune_yesno.config import build_config
from raytune_yesno.errors import InputError, WorkError
from raytune_yesno.launch import packaging as ship
from raytune_yesno.launch.launch_state import LaunchState, find_launch, launch_folder
from raytune_yesno.launch.new_cluster import LaunchedCluster
from raytune_yesno.launch.packaging import gather_inputs, unpack_wheel, write_definition
from raytune_yesno.launch.ssh_nodes import RAY_PROCESS
from raytune_yesno.signals import HANGUP_SIGNALS
from raytune_yesno.versions import COMMIT, library_versions


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give each test its own home, for the token and the saved state."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("XDG_STATE_HOME", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", DEFINITION_VARIABLE):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


DASHBOARD = "http://127.0.0.1:8265"
ONPREM = str(ROOT / "cluster/onprem.yaml")
KUBERNETES = str(ROOT / "cluster/kubernetes.yaml")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ([], "give a cluster's YAML"),
        ([ONPREM], "no command to run"),
        ([ONPREM, "--", "report", "x"], "'report' cannot be launched"),
        ([ONPREM, "--down", "--", "tune"], "--down takes no command"),
        ([ONPREM, "--check", "--down"], "--check and --down"),
        ([ONPREM, "--attach"], "no unfinished launch"),
        (["none.yaml", "--", "tune"], "none.yaml: "),
        (["--address", "http://127.0.0.1:9", "--", "tune"], "--shared"),
        (
            ["--address", "http://127.0.0.1:9", "--shared", "/x", "--", "tune"],
            "http://127.0.0.1:9: ",
        ),
        ([ONPREM, "--check"], "EDIT-head"),
        ([ONPREM, "--", "tune", "--trails", "9"], "did you mean --trials?"),
        ([ONPREM, "--", "tune", "--tri", "9"], "--tri"),
        ([ONPREM, "--", "tune", "--trials", "many"], "'many'"),
        ([ONPREM, "--", "tune", "--replay", "/shared/s"], "--replay"),
        ([ONPREM, "--", "train", "--trials", "9"], "`tune`"),
        ([KUBERNETES, "--", "tune"], "kubectl"),
        ([KUBERNETES, "--check"], "EDIT-registry"),
    ],
)
def test_wrong_usage_is_refused(
    arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        exit_code = cli.main(["launch", *arguments])
    except SystemExit as ended:  # the parser of the options
        exit_code = int(ended.code or 0)
    assert exit_code == 2
    first, *others = capsys.readouterr().err.splitlines()
    assert first.startswith("raytune-yesno: ")
    assert complaint in "\n".join([first, *others])
    assert all(line.startswith("  ") for line in others)


@pytest.mark.parametrize(
    ("script", "words", "part"),
    [
        ("launch", ["--help"], "--attach"),
        ("local_cluster", ["--help"], "down"),
        ("local_cluster", ["up", "--help"], "--num-cpus"),
    ],
)
@pytest.mark.parametrize("variable", ["VIRTUAL_ENV", "VENV", "PATH"])
def test_the_old_scripts_run_the_commands_where_the_program_is_installed(
    script: str, words: list[str], part: str, variable: str, tmp_path: Path
) -> None:
    program = write_program(tmp_path)
    environment = {"PATH": "/usr/bin:/bin", "VENV": str(tmp_path / "none")}
    folder = program.parent if variable == "PATH" else tmp_path
    environment[variable] = f"{folder}:/usr/bin:/bin" if variable == "PATH" else str(folder)
    done = subprocess.run(
        [str(ROOT / "scripts" / script), *words],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert part in done.stdout


def test_the_old_scripts_install_nothing(tmp_path: Path) -> None:
    environment = {"PATH": "/usr/bin:/bin", "VENV": str(tmp_path / "none")}
    command = [str(ROOT / "scripts/launch"), "--help"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 2
    assert "quickstart" in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("words", [["launch", "--help"], ["cluster", "up", "--help"]])
def test_help_imports_nothing_heavy(words: list[str]) -> None:
    script = "import sys; from raytune_yesno import cli\n"
    script += "try: cli.main(sys.argv[1:])\n"
    script += "finally: print(*{'ray', 'torch', 'numpy', 'yaml'} & set(sys.modules))"
    command = [sys.executable, "-c", script, *words]
    done = subprocess.run(command, capture_output=True, text=True)
    assert "--json" in done.stdout
    assert done.stdout.splitlines()[-1] == ""


def test_json_ends_standard_output(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(LaunchedCluster, "check", lambda self: None)
    assert cli.main(["launch", ONPREM, "--check", "--json"]) == 0
    assert json.loads(capfd.readouterr().out) == {"cluster": "yesno-onprem", "checked": True}


def test_a_manifest_for_kubernetes_is_checked(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "job.yaml"
    path.write_text(Path(KUBERNETES).read_text().replace("EDIT-", "my-"))
    assert cli.main(["launch", str(path), "--check", "--json"]) == 0
    assert json.loads(capfd.readouterr().out) == {"cluster": "job", "checked": True}


def stop_during(monkeypatch: pytest.MonkeyPatch, signum: int) -> None:
    """Send this process a signal while a launch follows its job, where asyncio runs."""

    async def follow() -> None:
        os.kill(os.getpid(), signum)
        await asyncio.sleep(60)

    def follow_job(cluster: LaunchedCluster) -> int:
        with contextlib.suppress(Exception):
            asyncio.run(follow())
        raise AssertionError("the signal was lost")

    monkeypatch.setattr(LaunchedCluster, "follow", follow_job)


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_stops_following_and_names_the_next_commands(
    signum: int, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    LaunchState(launch_folder("yesno-onprem"), phase="submitted").save()
    stop_during(monkeypatch, signum)
    ours = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # the tests may run under nohup
    try:
        before = {number: signal.getsignal(number) for number in HANGUP_SIGNALS}
        assert cli.main(["launch", ONPREM, "--attach"]) == 128 + signum
        assert {number: signal.getsignal(number) for number in HANGUP_SIGNALS} == before
    finally:
        signal.signal(signal.SIGHUP, ours)
    said = capfd.readouterr().err
    assert f"raytune-yesno launch {ONPREM} --attach" in said
    assert f"raytune-yesno launch {ONPREM} --down" in said
    assert find_launch("yesno-onprem") is not None


def test_a_failed_step_is_exit_1_and_names_the_next_commands(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(cluster: LaunchedCluster) -> int:
        raise WorkError("the link broke")

    LaunchState(launch_folder("yesno-onprem"), phase="submitted").save()
    monkeypatch.setattr(LaunchedCluster, "follow", fail)
    assert cli.main(["launch", ONPREM, "--attach"]) == 1
    first, last = capsys.readouterr().err.splitlines()
    assert first == "raytune-yesno: the link broke"
    assert f"raytune-yesno launch {ONPREM} --attach" in last


def test_the_state_of_a_launch_is_saved(tmp_path: Path) -> None:
    launch = LaunchState(launch_folder("http://head:8265"), address="http://head:8265")
    launch.save(phase="submitted", submission="x-1", arguments=["tune"])
    assert stat.S_IMODE(launch.folder.stat().st_mode) == 0o700
    assert find_launch("http://head:8265") == launch
    launch.forget()
    assert find_launch("http://head:8265") is None


def test_only_the_user_can_read_the_token(tmp_path: Path) -> None:
    assert auth_headers(DASHBOARD) == {}
    path = ensure_token()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    token = path.read_text()
    path.chmod(0o644)
    assert ensure_token().read_text() == token
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert auth_headers(DASHBOARD) == {"Authorization": f"Bearer {token}"}


def test_the_files_of_a_command_are_sent(tmp_path: Path) -> None:
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
    with pytest.raises(InputError, match=r"none\.yaml"):
        gather_inputs(["tune", "--space", "none.yaml"], inputs)


def test_recordings_are_sent_whatever_git_ignores(tmp_path: Path) -> None:
    (tmp_path / "waves").mkdir()
    (tmp_path / "waves/0_1.wav").write_bytes(b"RIFF")
    (tmp_path / "waves/.gitignore").write_text("*.wav\n")
    gather_inputs(["tune", "--data", f"{tmp_path}/waves"], tmp_path / "inputs")
    names = [path.name for path in (tmp_path / "inputs/data/waves").iterdir()]
    assert names == ["0_1.wav"]


@pytest.mark.parametrize(
    ("content", "key"), [("data: waves\n", "data"), ("config: {task: own.py:Task}\n", "task")]
)
def test_a_study_file_that_names_local_files_is_refused(
    content: str, key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("study.yaml").write_text(content)
    words = ["tune", "--config", "study.yaml"]
    assert gather_inputs(words, tmp_path / "inputs")  # on the cluster there may be such a file
    Path("waves").mkdir()
    Path("own.py").touch()
    with pytest.raises(InputError, match=f"--{key}"):
        gather_inputs(words, tmp_path / "inputs")


def test_files_that_the_cluster_would_refuse_are_refused(tmp_path: Path) -> None:
    (tmp_path / "waves").mkdir()
    with (tmp_path / "waves/large.wav").open("wb") as file:
        file.truncate(100 * 1024**2)
    with pytest.raises(InputError, match="100 MB"):
        gather_inputs(["tune", "--data", f"{tmp_path}/waves"], tmp_path / "inputs")
    assert not (tmp_path / "inputs").exists()


def test_a_launch_without_all_inputs_cannot_be_attached_to(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(folder: Path) -> None:
        raise WorkError("the disk is full")

    monkeypatch.setattr(LaunchedCluster, "check", lambda self: None)
    monkeypatch.setattr("raytune_yesno.commands.launch.unpack_wheel", fail)
    assert cli.main(["launch", ONPREM, "--", "tune"]) == 1
    assert find_launch("yesno-onprem") is None


def test_only_the_wheel_is_sent(tmp_path: Path) -> None:
    sent = tmp_path / "sent"
    unpack_wheel(sent)
    names = {path.name for path in sent.iterdir()}
    assert {name.split("-")[0] for name in names} == {"raytune_yesno"}
    assert (sent / "raytune_yesno/report/assets/page.css").exists()


def test_an_installed_package_is_sent_without_a_checkout(tmp_path: Path) -> None:
    installed, sent = tmp_path / "site-packages", tmp_path / "sent"
    unpack_wheel(installed)
    script = "import sys; from pathlib import Path\n"
    script += "from raytune_yesno.launch.packaging import unpack_wheel\n"
    script += "unpack_wheel(Path(sys.argv[1]))"
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    words = [sys.executable, "-c", script, str(sent)]
    subprocess.run(words, cwd=tmp_path, env=environment, check=True)

    def list_files(folder: Path) -> set[str]:
        found = (path for path in folder.rglob("*") if path.suffix != ".pyc")
        return {str(path.relative_to(folder)) for path in found if path.is_file()}

    assert list_files(sent) == list_files(installed)


def test_a_job_gets_its_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_a_definition_gets_the_token_and_absolute_paths(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "cluster.yaml"
    monkeypatch.chdir(tmp_path)
    Path("README.md").touch()
    mounts = {"~/x": "pyproject.toml", "~/y": "README.md"}
    write_definition({"file_mounts": mounts}, target)
    assert yaml.safe_load(target.read_text())["file_mounts"] == {
        "~/x": str(ROOT / "pyproject.toml"),
        "~/y": str(tmp_path / "README.md"),
        "~/.ray/auth_token": str(tmp_path / ".ray/auth_token"),
    }


def test_a_token_in_the_environment_is_that_of_the_nodes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ensure_token()
    monkeypatch.setenv("RAY_AUTH_TOKEN", "another")
    write_definition({}, tmp_path / "cluster.yaml")
    mounts = yaml.safe_load((tmp_path / "cluster.yaml").read_text())["file_mounts"]
    sent = Path(mounts["~/.ray/auth_token"])
    assert auth_headers(DASHBOARD) == {"Authorization": f"Bearer {sent.read_text()}"}
    assert stat.S_IMODE(sent.stat().st_mode) == 0o600


@pytest.mark.parametrize(("key", "expected"), [({}, 4), ({"min_workers": 1}, 2)])
def test_a_launch_waits_for_the_nodes_that_ray_starts(
    key: dict[str, int], expected: int, tmp_path: Path
) -> None:
    definition = yaml.safe_load(Path(ONPREM).read_text())
    definition["provider"]["worker_ips"] = ["10.0.0.2", "10.0.0.3", "10.0.0.4"]
    path = tmp_path / "cluster.yaml"
    path.write_text(yaml.safe_dump({**definition, **key}))
    launch = LaunchState(launch_folder("some"), definition=str(path))
    assert LaunchedCluster(launch, print, print).num_nodes == expected


def test_other_programs_are_not_taken_for_ray(tmp_path: Path) -> None:
    commands = ["streamlit run dashboard.py", "python /home/ray/gpu_monitor.py"]
    rays = ["python /env/lib/python3.11/site-packages/ray/dashboard/dashboard.py", "ray::IDLE"]
    found = [command for command in [*commands, *rays] if re.search(RAY_PROCESS, command)]
    assert found == rays


def test_workers_that_the_autoscaler_may_add_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    types = {
        "head": {"resources": {"CPU": 8}, "max_workers": 0},
        "cpu": {"resources": {"CPU": 4}, "max_workers": 2},
        "gpu": {"resources": {"CPU": 2, "GPU": 1}, "max_workers": 5},
    }
    definition = {"head_node_type": "head", "max_workers": 4, "available_node_types": types}
    path = tmp_path / "bootstrap.yaml"
    path.write_text(yaml.safe_dump(definition))

    import ray

    from raytune_yesno.cluster import session

    head = {"Alive": True, "Resources": {"CPU": 0.0}}
    monkeypatch.setattr(ray, "nodes", lambda: [head])
    with pytest.raises(InputError, match="num_workers"):
        session.count_fitting(build_config({}))
    monkeypatch.setenv(DEFINITION_VARIABLE, str(path))
    assert session.count_fitting(build_config({})) == 2 * 4 + 2 * 2
    # At most four nodes run at a time, all of them with a GPU if the workers need one.
    assert session.count_fitting(build_config({"use_gpu": True})) == 4
