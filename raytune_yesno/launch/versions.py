"""The versions that every node of a cluster runs and that scripts/quickstart installs.

``cluster/constraints.txt`` pins all packages to versions that were tested together. No other file
chooses a version. To test the newest versions that ``pyproject.toml`` allows, with Python 3.11, and
pin them:

    export CONSTRAINTS=/dev/null VENV=/tmp/newest
    scripts/test && $VENV/bin/python -m raytune_yesno.launch.versions >cluster/constraints.txt
"""

from collections.abc import Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution, version

PYTHON = "3.11"
"""Python version of the nodes, for which the constraints were made."""

PROJECT = "raytune-yesno"
EXTRAS = ("cluster", "search", "aws", "gcp")
"""Extras of the project that nodes need."""


@cache
def ray_version() -> str:
    """Return the version of Ray installed here, which the nodes must have too."""
    return version("ray")


def pin_installed() -> dict[str, str]:
    """Return the project's direct and indirect dependencies with their installed versions."""
    pins: dict[str, str] = {}
    seen: set[tuple[str, frozenset[str]]] = set()
    waiting = [(PROJECT, frozenset(EXTRAS))]
    while waiting:
        name, extras = waiting.pop()
        if (name, extras) in seen:
            continue
        seen.add((name, extras))
        try:
            found = distribution(name)
        except PackageNotFoundError:
            continue  # an indirect extra that is not installed
        if name != PROJECT:
            pins[name] = found.version
        waiting += _read_requirements(found.requires or [], extras)
    return dict(sorted(pins.items()))


def _read_requirements(
    requirements: list[str], extras: frozenset[str]
) -> list[tuple[str, frozenset[str]]]:
    """Return the names and extras of the requirements that apply here with these extras."""
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    needed = []
    for text in requirements:
        requirement = Requirement(text)
        marker = requirement.marker
        if marker is None or any(marker.evaluate({"extra": extra}) for extra in extras | {""}):
            needed.append((canonicalize_name(requirement.name), frozenset(requirement.extras)))
    return [(str(name), asked) for name, asked in needed]


def format_pins(pins: Mapping[str, str]) -> str:
    """Return the text of a constraints file."""
    head = (
        f"# What scripts/quickstart and every node install, with Python {PYTHON}: versions tested\n"
        "# together. Made by `python -m raytune_yesno.launch.versions`; do not edit.\n"
    )
    return head + "".join(f"{name}=={found}\n" for name, found in pins.items())


if __name__ == "__main__":
    print(format_pins(pin_installed()), end="")
