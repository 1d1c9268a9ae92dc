"""What `doctor` finds without a cluster, and what a node answers; the rest: test_local_cluster."""

import json
from pathlib import Path

import pytest

from raytune_yesno import cli
from raytune_yesno.cluster import probe
from raytune_yesno.cluster.shared_storage import _Spot
from raytune_yesno.commands import checks as doctor


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


def test_a_corpus_is_found_or_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert doctor.examine_corpus("synthetic:10").said == "10 recordings, built in"
    assert doctor.examine_corpus(str(tmp_path / "none")).status == "problem"
    monkeypatch.delenv("YESNO_ROOT", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    check = doctor.examine_corpus("yesno")
    assert check.status == "warn"
    assert "raytune-yesno corpus fetch" in check.todo
    assert list(tmp_path.iterdir()) == []  # nothing was downloaded


def test_a_problem_is_exit_1_and_each_check_a_line(
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
    assert "problem cluster: --address 127.0.0.1:1: no Ray cluster answers" in capfd.readouterr()[0]


def test_a_node_that_shares_a_folder_answers_in_it(tmp_path: Path) -> None:
    (tmp_path / "asked").write_text("secret")
    assert probe.meet(str(tmp_path), "asked", "answer", "secret") is None
    assert (tmp_path / "answer").read_text() == "secret"


def test_a_node_without_the_folder_says_which_way(tmp_path: Path) -> None:
    assert probe.meet(str(tmp_path / "none"), "a", "b", "s") == "there is no such folder there"
    assert probe.meet(str(tmp_path), "a", "b", "s") == "it is another folder there, not shared"
    (tmp_path / "a").write_text("other")
    assert "not what is read there" in str(probe.meet(str(tmp_path), "a", "b", "s"))


def test_a_uri_is_met_in_the_same_way(tmp_path: Path) -> None:
    place = tmp_path.as_uri()
    assert probe.meet(place, "asked", "answer", "s") == "what is written here is not there"
    spot = _Spot(place)
    spot.write("asked", "s")
    assert probe.meet(place, "asked", "answer", "s") is None
    assert spot.read("answer") == "s"
    spot.delete("asked")
    spot.delete("answer")
    spot.delete("none")  # nothing happens
    assert list(tmp_path.iterdir()) == []
