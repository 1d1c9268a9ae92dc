"""Rules of layout that no linter has."""

import ast
from pathlib import Path

TESTS = Path(__file__).parents[1]


def test_no_test_module_imports_another() -> None:
    """What tests share is in ``tests/helpers``."""
    modules = {file.stem for file in TESTS.rglob("test_*.py")}
    assert Path(__file__).stem in modules
    for file in TESTS.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            assert not {name.split(".")[-1] for name in names} & modules, file
