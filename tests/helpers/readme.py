"""The README, as tests read it: fenced blocks by section, and the commands in them."""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")


@dataclass(frozen=True)
class Block:
    """A fenced block; `section` is the heading over it, `chapter` that of the second level."""

    chapter: str
    section: str
    language: str
    text: str

    @property
    def commands(self) -> list[list[str]]:
        """Return the words of each command of a `sh` block."""
        lines = self.text.replace("\\\n", " ").splitlines()
        return [words for line in lines if (words := shlex.split(line, comments=True))]

    @property
    def file(self) -> str | None:
        """Return the name that the first line gives the file, if it is a comment that does."""
        named = re.match(r"# ([\w-]+\.yaml)\b", self.text)
        return named[1] if named else None


def read_blocks() -> list[Block]:
    """Return all fenced blocks, in order."""
    blocks: list[Block] = []
    chapter = section = ""
    fence = re.compile(r"^```(\w*)\n(.*?)^```$|^(#{2,3}) (.*?)$", re.M | re.S)
    for match in fence.finditer(TEXT):
        if match[3]:
            section = match[4]
            chapter = section if match[3] == "##" else chapter
        else:
            blocks.append(Block(chapter, section, match[1], match[2]))
    return blocks


def read_prose() -> str:
    """Return the README without its fenced blocks."""
    return re.sub(r"^```.*?^```$", "", TEXT, flags=re.M | re.S)


def read_tables(section: str) -> list[list[list[str]]]:
    """Return the tables under a heading: rows of cells, without the header."""
    body = re.split(r"^#{2,3} ", TEXT.split(f" {section}\n", 1)[1], maxsplit=1, flags=re.M)[0]
    tables = re.findall(r"(?:^\|.*\|\n)+", body, flags=re.M)
    return [
        [[cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]] for row in rows]
        for table in tables
        if (rows := table.splitlines()[2:])
    ]
