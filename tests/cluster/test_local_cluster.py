"""A local cluster of two nodes: start, check, run a study, end. Needs no root."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from helpers.meeting import write_meeting
from helpers.processes import find_with_environment

from raytune_yesno.cluster.local_cluster import MARK
from raytune_yesno.study import load

pytestmark = pytest.mark.cluster


def find_marked() -> list[str]:
    """Return the command lines of the processes of any local cluster of these tests."""
    return find_with_environment(MARK, HOME)


HOME = tempfile.mkdtemp(prefix="lc-", dir="/tmp")  # short: sockets lie below


@dataclass
class Local:
    """The environment of a local cluster, and commands in it."""

    environment: dict[str, str]

    def run(self, *command: str, code: int = 0, **more: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", *command],
            env={**self.environment, **more},
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + (done.stderr if code else "")

    def doctor(self, code: int = 0, **options: str) -> dict[str, dict[str, Any]]:
        words = [word for name, value in options.items() for word in (f"--{name}", value)]
        told = self.run(
            "raytune_yesno", "doctor", "--json", "--data", "synthetic:10", *words, code=code
        )
        result = json.loads(next(line for line in told.splitlines() if line.startswith("{")))
        assert result["ok"] == (code == 0)
        return {check["name"]: check for check in result["checks"]}


@pytest.fixture(scope="module")
def local() -> Iterator[Local]:
    ours = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    cluster = Local({**ours, "HOME": HOME, "TMPDIR": HOME})
    try:
        words = ("cluster", "up", "2", "--num-cpus", "1", "--json")
        told = cluster.run("raytune_yesno", *words)
        cluster.environment |= json.loads(told.splitlines()[-1])["environment"]
        yield cluster
    finally:
        cluster.run("raytune_yesno", "cluster", "down")
        left = find_marked()
        kept = list(Path(HOME).glob("raytune-*"))
        subprocess.run(["rm", "-rf", HOME], check=True)
        assert left == []
        assert kept == []


def test_only_the_user_can_read_the_token(local: Local) -> None:
    token = Path(HOME) / ".ray" / "auth_token"
    assert token.stat().st_mode & 0o777 == 0o600
    folder = Path(HOME) / f"raytune-{os.getuid()}"
    assert folder.stat().st_mode & 0o777 == 0o700
    secret = token.read_bytes()
    logs = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    assert len(logs) > 5
    assert [path for path in logs if secret in path.read_bytes()] == []


def test_no_command_line_shows_the_token(local: Local) -> None:
    secret = (Path(HOME) / ".ray" / "auth_token").read_text()
    commands = find_marked()
    assert sum("/raylet --" in command for command in commands) == 2
    assert not any(secret in command for command in commands)


def test_a_second_cluster_is_refused(local: Local) -> None:
    told = local.run("raytune_yesno", "cluster", "up", "2", code=2)
    assert "raytune-yesno cluster down" in told


def test_access_without_a_token_is_refused(local: Local) -> None:
    with tempfile.TemporaryDirectory() as nobody:
        told = local.run(
            "raytune_yesno",
            "doctor",
            "--data",
            "synthetic:10",
            code=1,
            HOME=nobody,
            RAY_AUTH_MODE="disabled",
        )
        assert "problem cluster: RAY_ADDRESS=" in told


LEFT_OVER = """
import ray
ray.init(namespace="left")
class Stays: pass
kept = ray.remote(Stays).options(lifetime="detached", name="stays", num_cpus=0).remote()
ray.get(kept.__ray_ready__.remote())
group = ray.util.placement_group([{"CPU": 1}], lifetime="detached", name="held")
ray.get(group.ready())
"""
TAKE_AWAY = """
import ray
ray.init(namespace="left")
ray.kill(ray.get_actor("stays"))
ray.util.remove_placement_group(ray.util.get_placement_group("held"))
"""


def test_doctor_finds_leftovers_of_ended_jobs_and_else_nothing(
    local: Local, tmp_path: Path
) -> None:
    def python(text: str) -> None:
        script = tmp_path / "script.py"
        script.write_text(text)
        command = [sys.executable, str(script)]
        subprocess.run(command, env=local.environment, check=True, capture_output=True)

    python(LEFT_OVER)
    checks = local.doctor(code=1)
    assert checks["placement groups"]["status"] == "problem"
    assert checks["placement groups"]["said"].startswith("1 ")
    assert checks["actors"]["status"] == "warn"
    assert "stays (process " in checks["actors"]["said"]
    python(TAKE_AWAY)
    studies = tmp_path / "studies"
    checks = local.doctor(out=str(studies / "first"))
    assert {check["status"] for check in checks.values()} == {"ok"}
    assert "2 of 2 CPU" in checks["cluster"]["said"]
    assert "2 of 2 nodes" in checks["storage"]["said"]
    assert not studies.exists()


def test_a_study_uses_both_nodes(local: Local, tmp_path: Path) -> None:
    out = tmp_path / "study"
    plan = write_meeting(tmp_path / "meeting", trials=4).split()
    told = local.run("raytune_yesno", "tune", "--json", "--out", str(out), *plan)
    assert json.loads(told.splitlines()[-1])["trials"] == 4
    study = load(out)
    assert study.epochs["node"].nunique() == 2
    assert {trial.status for trial in study.trial_list} == {"done"}
    assert not [path for path in tmp_path.rglob("*") if "probe" in path.name]
