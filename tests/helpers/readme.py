"""The README and the guides, as tests read them: fenced blocks by section, and their commands."""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
GUIDES = (
    *(
        "installation",
        "tutorial",
        "corpora",
        "vocabularies",
        "own_tasks",
        "settings",
        "objectives",
        "repeats",
        "reports",
    ),
    *("reliability", "living_studies", "clusters", "security", "recogniser"),
)
DOCUMENTS = {
    path: (ROOT / path).read_text(encoding="utf-8")
    for path in ("README.md", *(f"docs/{name}.md" for name in (*GUIDES, "python")))
}
TEXT = "\n".join(DOCUMENTS.values())


@dataclass(frozen=True)
class Block:
    """A fenced block of a document; `section` is the heading over it."""

    document: str
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
    fence = re.compile(r"^```(\w*)\n(.*?)^```$|^#{1,3} (.*?)$", re.M | re.S)
    for document, text in DOCUMENTS.items():
        section = ""
        for match in fence.finditer(text):
            if match[3]:
                section = match[3]
            else:
                blocks.append(Block(document, section, match[1], match[2]))
    return blocks


def read_prose() -> str:
    """Return all documents without their fenced blocks."""
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
