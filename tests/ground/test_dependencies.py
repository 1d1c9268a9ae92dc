"""Dependencies: pinned as tested together, consistent, with permissive licences."""

import re
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest
from helpers.pins import PINS, TEXT
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from raytune_yesno.launch.versions import PYTHON, pin_installed

ROOT = Path(__file__).parents[2]
of_the_pinned_python = pytest.mark.skipif(
    sys.version_info[:2] != tuple(map(int, PYTHON.split("."))),
    reason=f"the versions are those for Python {PYTHON}",
)
# Permissive, or copyleft only for changes to the package itself (MPL).
ALLOWED = re.compile(
    r"apache|\bmit\b|bsd|psf|python software foundation|mpl|mozilla|isc|zlib|cc0|bsl-1\.0|scipy",
    re.IGNORECASE,
)
REFUSED = re.compile(r"\bA?GPL|general public|non.?commercial|SSPL|BUSL", re.IGNORECASE)


def describe_licence(name: str) -> str:
    """Return all licence statements of a package in one line."""
    about = distribution(name).metadata
    classifiers = [
        text.rpartition("::")[2].strip()
        for text in about.get_all("Classifier", [])
        if text.startswith("License ::")
    ]
    stated = (about.get("License") or "").strip().splitlines()[:1]
    return " | ".join(filter(None, [about.get("License-Expression"), *stated, *classifiers]))


def test_the_file_contains_only_names_and_versions() -> None:
    lines = [line for line in TEXT.splitlines() if not line.startswith("#")]
    assert all(re.fullmatch(r"[a-z0-9-]+==[0-9a-z.]+", line) for line in lines)
    assert lines == sorted(lines, key=lambda line: line.partition("==")[0])
    assert len(lines) == len(PINS)


@of_the_pinned_python
def test_every_required_package_is_pinned() -> None:
    assert sorted(pin_installed().keys() - PINS.keys()) == []


@of_the_pinned_python
@pytest.mark.parametrize("name", PINS)
def test_pins_are_consistent(name: str) -> None:
    try:
        found = distribution(name)
    except PackageNotFoundError:
        pytest.skip("not installed")
    if found.version != PINS[name]:
        pytest.skip(f"{found.version} is installed here")
    for text in found.requires or []:
        requirement = Requirement(text)
        pin = PINS.get(canonicalize_name(requirement.name))
        # A requirement of an extra evaluates to false here.
        applies = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
        if pin and applies:
            assert requirement.specifier.contains(pin, prereleases=True), text


# NVIDIA's packages, which torch's Linux wheels depend on, have a licence of their own.
@pytest.mark.parametrize("name", [name for name in PINS if not re.match("nvidia-|cuda-", name)])
def test_licences_are_permissive(name: str) -> None:
    try:
        licence = describe_licence(name)
    except PackageNotFoundError:
        pytest.skip("not installed here")
    assert ALLOWED.search(licence), licence
    assert not REFUSED.search(licence), licence


@pytest.mark.parametrize(("version", "note"), [(PYTHON, ""), ("3.10", "Python 3.10")])
def test_the_quickstart_installs_them(tmp_path: Path, version: str, note: str) -> None:
    """Pins are used with Python 3.11; other versions print a note. pip itself is not run."""
    pip, python = tmp_path / "bin/pip", tmp_path / "bin/python"
    pip.parent.mkdir()
    pip.write_text('#!/bin/sh\necho "$@" >&2\necho "Collecting torch"\n')
    python.write_text(f"#!/bin/sh\necho {version}\n")
    for file in (pip, python):
        file.chmod(0o755)
    command = f". {ROOT}/scripts/environment.sh; make_environment ''; make_environment ''"
    done = subprocess.run(
        ["bash", "-euc", command],
        env={"PATH": "/usr/bin:/bin", "VENV": str(tmp_path), "PYTHON": sys.executable},
        capture_output=True,
        text=True,
        check=True,
    )
    file = "/dev/null" if note else ROOT / "cluster/constraints.txt"
    installed = [line for line in done.stderr.splitlines() if line.startswith("install ")]
    (line,) = installed  # the second call installs nothing
    assert f"--only-binary :all: --constraint {file} --editable {ROOT}" in line
    assert note in done.stderr
    assert "Collecting torch" in done.stderr  # the progress


def test_a_half_made_environment_is_completed(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-I", "-m", "venv", "--without-pip", str(tmp_path)], check=True)
    # With the stamp of an installation, nothing is installed.
    files = f"{ROOT}/pyproject.toml {ROOT}/cluster/constraints.txt"
    command = f"cat {files} | cksum >$VENV/.installed-; . {ROOT}/scripts/environment.sh"
    variables = {"VENV": str(tmp_path), "PYTHON": sys.executable}
    variables["CONSTRAINTS"] = f"{ROOT}/cluster/constraints.txt"
    subprocess.run(
        ["bash", "-euc", f"{command}; make_environment ''"],
        env={"PATH": "/usr/bin:/bin", **variables},
        check=True,
    )
    subprocess.run([str(tmp_path / "bin/pip"), "--version"], check=True)
