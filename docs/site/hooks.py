"""Add to the site what lies outside its folder, and the pages that come from the program itself."""

import argparse
from collections.abc import Iterator
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from raytune_yesno.cli import build_parser
from raytune_yesno.commands.settings import config_help

ROOT = Path(__file__).parents[2]
LINKED = (
    "*.md",
    "docs/*.md",
    "docs/images/*",
    "cluster/*",
    "scripts/examples/*.*",
    "scripts/bench/*/results/*.svg",
)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the documents and what they link to, so that their relative links work."""
    for pattern in LINKED:
        for path in sorted(ROOT.glob(pattern)):
            name = path.relative_to(ROOT).as_posix()
            files.append(File.generated(config, name, abs_src_path=str(path)))
    for name, text in (("commands", _describe_commands()), ("config", _describe_config())):
        files.append(File.generated(config, f"reference/{name}.md", content=text))
    return files


def _describe_commands() -> str:
    head = "# Commands\n\nEach command with all its options, as `--help` prints them.\n\n"
    return head + "\n".join(
        f"## {parser.prog}\n\n```text\n{parser.format_help()}```\n"
        for parser in _list_parsers(build_parser())
    )


def _list_parsers(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                yield from _list_parsers(command)


def _describe_config() -> str:
    return (
        "# Config keys\n\nWhat `--set` and a study file can set, as `train --help-config` prints "
        f"it.\n\n```text\n{config_help()}\n```\n"
    )
