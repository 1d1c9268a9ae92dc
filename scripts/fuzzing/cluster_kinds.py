"""Bad definitions of clusters."""

from pathlib import Path
from random import Random

from fuzzing.kind import Kind, find_untidy
from fuzzing.settings_kinds import damage_yaml
from raytune_yesno.cluster import command
from raytune_yesno.cluster.rules import check_definition
from raytune_yesno.errors import InputError

DEFINITIONS = Path(__file__).parents[2] / "cluster"


def good_definitions(folder: Path) -> list[bytes]:
    texts = [
        (DEFINITIONS / f"{name}.yaml").read_bytes().replace(b"EDIT", b"192.0.2.1")
        for name in ("onprem", "aws", "gcp", "azure", "kubernetes")
    ]
    texts.append(b"kind: RayJob\nspec: {rayClusterSpec: {headGroupSpec: {}}}\n---\nkind: X\n")
    return texts


def damage_definition(random: Random, text: bytes) -> bytes:
    return damage_yaml(random, text)


def try_definition(text: bytes, folder: Path) -> str | None:
    file = folder / "cluster.yaml"
    file.write_bytes(text)
    problems = check_definition(file)
    for problem in problems:
        if untidy := find_untidy(problem):
            raise ValueError(f"{untidy}: {problem:.300}")
    code = command.main([str(file), "--check"])
    if code == 1:
        raise ValueError("the check itself failed")
    if bool(problems) and code == 0:
        return f"passed with {problems[0]:.200}"
    if code == 2:
        raise InputError("it was refused")
    return None


KINDS: tuple[Kind, ...] = (
    Kind(
        "cluster definitions",
        good_definitions,
        damage_definition,
        try_definition,
        (
            "raytune_yesno.cluster.definition",
            "raytune_yesno.cluster.rules",
            "raytune_yesno.cluster.clouds",
            "raytune_yesno.cluster.kubernetes",
        ),
    ),
)
