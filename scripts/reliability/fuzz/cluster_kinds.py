"""Bad definitions of clusters."""

import re
from pathlib import Path
from random import Random

from raytune_yesno import cli
from raytune_yesno.errors import InputError
from raytune_yesno.launch.definition import EDIT_MARK, read_documents, walk_values
from raytune_yesno.launch.definition_rules import check_definition
from reliability.fuzz.kind import Kind, find_untidy
from reliability.fuzz.settings_kinds import damage_yaml

DEFINITIONS = Path(__file__).parents[3] / "cluster"


def good_definitions(folder: Path) -> list[bytes]:
    """Return the definitions of this project, filled in, and an invalid one."""
    texts = [
        re.sub(rb"EDIT-([a-z]+)", rb"my-\1", (DEFINITIONS / f"{name}.yaml").read_bytes())
        for name in ("onprem", "aws", "gcp", "azure", "kubernetes")
    ]
    texts.append(b"kind: RayJob\nspec: {rayClusterSpec: {headGroupSpec: {}}}\n---\nkind: X\n")
    return texts


def damage_definition(random: Random, text: bytes) -> bytes:
    return damage_yaml(random, text)


def try_definition(text: bytes, folder: Path) -> str | None:
    """Check a definition; the command refuses the same ones."""
    file = folder / "cluster.yaml"
    file.write_bytes(text)
    problems = check_definition(file)
    for problem in problems:
        if untidy := find_untidy(problem):
            raise ValueError(f"{untidy}: {problem:.300}")
    if not problems:
        return find_unsafe(file)
    code = cli.main(["launch", str(file), "--check"])
    if code == 1:
        raise ValueError("the check itself failed")
    if code == 0:
        return f"passed with {problems[0]:.200}"
    raise InputError("it was refused")


def find_unsafe(file: Path) -> str | None:
    """Return what an accepted definition must not contain, without using the rules."""
    for document in read_documents(file):
        for key, value in walk_values(document):
            if EDIT_MARK in str(value):
                return f"passed with {key} to be filled in"
            if "ray start" in str(value) and "RAY_AUTH_MODE=token" not in str(value):
                return f"passed with {key} starting Ray without a token"
    return None


KINDS: tuple[Kind, ...] = (
    Kind(
        "cluster definitions",
        good_definitions,
        damage_definition,
        try_definition,
        (
            "raytune_yesno.launch.definition",
            "raytune_yesno.launch.definition_rules",
            "raytune_yesno.launch.cloud_rules",
            "raytune_yesno.launch.kubernetes",
        ),
    ),
)
