"""``doctor`` without a cluster, and the functions that run on nodes; see test_local_cluster."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from raytune_yesno import cli
from raytune_yesno.cluster import probe
from raytune_yesno.cluster.shared_storage import _Storage
from raytune_yesno.commands import doctor_checks as doctor
from raytune_yesno.commands import machine_checks
from raytune_yesno.tasks.speech.synthetic import synthesize, write_corpus


def test_a_token_that_others_can_read_is_a_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = tmp_path / "token"
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(token))
    assert doctor.examine_token().status == "ok"  # there is none
    token.write_text("secret")
    token.chmod(0o644)
    check = doctor.examine_token()
    assert (check.status, check.todo) == ("problem", f"chmod 600 {token}")
    token.chmod(0o600)
    assert doctor.examine_token().status == "ok"


def test_a_missing_package_is_installed_from_the_checkout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "PACKAGES", ("nothing-of-that-name",))
    check = next(doctor.examine_machine("synthetic:10"))
    assert check.status == "problem"
    assert "nothing-of-that-name" in check.said
    assert check.todo == "pip install . in a checkout"  # no index has a package of our name


def test_a_corpus_is_found_or_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert doctor.examine_corpus("synthetic:10").status == "ok"
    assert doctor.examine_corpus(str(tmp_path / "none")).status == "problem"
    monkeypatch.delenv("YESNO_ROOT", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    check = doctor.examine_corpus("yesno")
    assert check.status == "warn"
    assert "raytune-yesno corpus fetch" in check.todo
    assert list(tmp_path.iterdir()) == []  # nothing was downloaded


def test_an_incomplete_yesno_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    write_corpus(synthesize(3), tmp_path)
    monkeypatch.setenv("YESNO_ROOT", str(tmp_path))
    check = doctor.examine_corpus("yesno")
    assert check.status == "warn"
    assert "3 of 60" in check.said
    assert cli.main(["corpus", "check", "--data", "yesno"]) == 0
    assert "3 of 60" in capfd.readouterr().out
    assert doctor.examine_corpus(str(tmp_path)).status == "ok"  # a corpus of its own


def test_a_problem_is_exit_1_and_each_check_one_line(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    assert cli.main(["doctor", "--json", "--data", str(tmp_path / "none")]) == 1
    told, lines = capfd.readouterr()
    result = json.loads(told)
    assert result["ok"] is False
    assert [check["status"] for check in result["checks"]].count("problem") == 1
    assert len(lines.splitlines()) == len(result["checks"])


def test_an_address_without_a_cluster_is_a_problem(capfd: pytest.CaptureFixture[str]) -> None:
    command = ["doctor", "--data", "synthetic:10", "--address", "127.0.0.1:1"]
    assert cli.main(command) == 1
    assert "problem cluster: address 127.0.0.1:1: " in capfd.readouterr()[0]


def test_files_are_exchanged_in_a_shared_folder(tmp_path: Path) -> None:
    (tmp_path / "asked").write_text("secret")
    assert probe.exchange_files(str(tmp_path), "asked", "answer", "secret") is None
    assert (tmp_path / "answer").read_text() == "secret"


def test_an_unshared_folder_is_reported(tmp_path: Path) -> None:
    assert (
        probe.exchange_files(str(tmp_path / "none"), "a", "b", "s")
        == "the folder does not exist there"
    )
    assert (
        probe.exchange_files(str(tmp_path), "a", "b", "s")
        == "it is a different folder there, not a shared one"
    )
    (tmp_path / "a").write_text("other")
    assert "different content" in str(probe.exchange_files(str(tmp_path), "a", "b", "s"))


def test_files_are_exchanged_at_a_uri(tmp_path: Path) -> None:
    uri = tmp_path.as_uri()
    assert (
        probe.exchange_files(uri, "asked", "answer", "s")
        == "a file written here does not exist there"
    )
    storage = _Storage(uri)
    storage.write("asked", "s")
    assert probe.exchange_files(uri, "asked", "answer", "s") is None
    assert storage.read("answer") == "s"
    storage.delete("asked")
    storage.delete("answer")
    storage.delete("none")  # nothing happens
    assert list(tmp_path.iterdir()) == []


def _find(name: str) -> machine_checks.Check:
    return next(check for check in machine_checks.examine_hardware() if check.name == name)


def test_this_machine_is_described() -> None:
    checks = {check.name: check for check in machine_checks.examine_hardware()}
    assert {"CPUs", "memory", "GPUs", "disk", "limits", "temporary folder"} <= checks.keys()
    assert int(checks["CPUs"].said.split()[0]) <= (os.cpu_count() or 1)


@pytest.mark.long
def test_limits_of_files_and_their_size_are_named_with_a_remedy() -> None:
    """In a process of its own: a lowered hard limit cannot be raised again."""
    program = """
import resource
from raytune_yesno.commands.machine_checks import examine_hardware
resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))
resource.setrlimit(resource.RLIMIT_FSIZE, (10**9, 10**9))
print(next(check for check in examine_hardware() if check.name == "limits"))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("warn")
    assert "256" in done.stdout
    assert "ulimit -f unlimited" in done.stdout


def test_a_long_temporary_folder_is_no_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / ("x" * 100)
    folder.mkdir()
    monkeypatch.setenv("RAY_TMPDIR", str(folder))
    check = _find("temporary folder")
    assert (check.status, "link" in check.said) == ("ok", True)
