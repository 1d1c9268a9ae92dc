"""Commands whose standard streams are closed, full, or without a reader: real processes."""

import json
import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has /dev/full")

CLI = shlex.join([sys.executable, "-m", "raytune_yesno"])
TRAIN = "train --set task=sine --num-workers 0 --epochs 2 --out run"
GONE, FULL = 141, 1


def run(command: str, folder: Path, **environment: str) -> "subprocess.CompletedProcess[str]":
    """Run a line of bash whose ``CLI`` is the command line; its exit code is the CLI's."""
    script = f"set -o pipefail; {command.replace('CLI', CLI)}"
    return subprocess.run(
        ["bash", "-c", script],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )


def assert_silent(done: "subprocess.CompletedProcess[str]") -> None:
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr


@pytest.mark.parametrize(
    ("command", "code"),
    [
        ("CLI --version >&-", 0),
        ("CLI --version >/dev/full", FULL),
        ("CLI train --help-config >&-", 0),
        ("CLI train --help-config >/dev/full", FULL),
        ("CLI train --help-config | true", GONE),
        ("CLI train --help >/dev/full", FULL),
        ("CLI train --nonsense 2>&-", 2),
        ("CLI train --nonsense 2>/dev/full", 2),
        ("CLI train --set unknown=1 2>/dev/full", 2),
        ("CLI train --set unknown=1 >&- 2>&- <&-", 2),
        ("CLI corpus check --data synthetic:10 --json | true", GONE),
        ("CLI corpus show --data synthetic:10 >/dev/full", FULL),
    ],
)
def test_what_is_printed_decides_the_exit_code_and_nothing_else(
    command: str, code: int, tmp_path: Path
) -> None:
    done = run(command, tmp_path)
    assert_silent(done)
    assert done.returncode == code
    if code == FULL:
        (line,) = done.stderr.splitlines()
        assert "standard output" in line


@pytest.mark.parametrize(
    ("streams", "code"),
    [
        (">&- 2>&- <&-", 0),
        ("2>/dev/full", 0),
        ("--json >/dev/full 2>/dev/full", FULL),
        ("2>&1 | true", GONE),
    ],
)
@pytest.mark.long
def test_training_continues_without_its_streams(streams: str, code: int, tmp_path: Path) -> None:
    done = run(f"CLI {TRAIN} {streams}", tmp_path)
    assert_silent(done)
    assert done.returncode == code
    history = (tmp_path / "run/history.jsonl").read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in history] == [1, 2]


@pytest.mark.long
@pytest.mark.parametrize("words", ["train --help-config", "tune --help", TRAIN])
def test_a_locale_without_the_letters_is_no_error(words: str, tmp_path: Path) -> None:
    ascii_only = {"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "LC_ALL": "C"}
    done = run(f"CLI {words}", tmp_path, **ascii_only)
    assert_silent(done)
    assert done.returncode == 0


@pytest.mark.long
def test_a_limit_on_files_is_one_line_and_how_to_resume(tmp_path: Path) -> None:
    done = run(
        f"ulimit -f 1; CLI {TRAIN.replace('--set task=sine', '--data synthetic:10')}", tmp_path
    )
    assert_silent(done)
    assert done.returncode == 1
    assert "File too large" in done.stderr.splitlines()[-1]
    assert "train --resume" in done.stderr.splitlines()[-1]


def test_a_limit_on_memory_is_one_line(tmp_path: Path) -> None:
    done = run(f"ulimit -v 1000000; CLI {TRAIN}", tmp_path)
    assert_silent(done)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "1.0 GB" in line
    assert "ulimit -v unlimited" in line


@pytest.mark.long
def test_a_user_without_a_home_or_a_name_trains() -> None:
    if os.geteuid():
        pytest.skip("becoming another user takes root")
    # The id is in no password file. Python itself may lie in a folder of root's: it may read that.
    user = "setpriv --reuid=12345 --regid=12345 --clear-groups --inh-caps=+dac_read_search "
    user += "--ambient-caps=+dac_read_search env -u HOME -u USER -u LOGNAME -u USERNAME"
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        os.chmod(folder, 0o777)
        done = run(f"{user} CLI {TRAIN} && {user} CLI doctor --data synthetic:10", Path(folder))
    assert_silent(done)
    assert done.returncode == 0, done.stderr
