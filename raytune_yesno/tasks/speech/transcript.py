"""What is known of a recording: its words, its speaker and its part of the corpus."""

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass

from raytune_yesno.errors import one_line
from raytune_yesno.text import list_some

_MAX_SHOWN = 8

YESNO_WORDS = ("no", "yes")
"""Vocabulary of YESNO, whose file names spell them 0 and 1."""
PARTS = ("train", "valid", "test")


@dataclass(frozen=True)
class Transcript:
    """What is known of a recording: its words, its speaker and its part, empty if unknown.

    The name of the speaker is brought to one form of Unicode, NFC.
    """

    words: tuple[str, ...]
    speaker: str = ""
    part: str = ""

    def __post_init__(self) -> None:
        """Normalise the speaker: one in two forms would be in two parts of a split."""
        object.__setattr__(self, "speaker", normalise(self.speaker))


def normalise(name: str) -> str:
    """Return the name of a speaker in one form of Unicode, without space around it."""
    return unicodedata.normalize("NFC", name.strip())


def parse_name(name: str) -> Transcript:
    """Return what a YESNO name without suffix spells, such as ``0_1_1`` or ``0_1_1-anna-2``.

    Raises:
        ValueError: the name spells no words.
    """
    *folders, stem = name.split("/")
    spelled, _, rest = stem.partition("-")
    about = [text for text in rest.split("-") if not re.fullmatch("[0-9]*", text)]
    words = tuple(YESNO_WORDS[label] for label in parse_labels(spelled))
    return Transcript(words, (about or folders[-1:] or [""])[0])


def parse_labels(name: str) -> tuple[int, ...]:
    """Return the words that a file name without suffix spells: 1 yes, 0 no.

    Raises:
        ValueError: the name spells no words.
    """
    if not re.fullmatch(r"[01](_[01])*", name):
        raise ValueError(
            "its name must be its words, 0 (no) and 1 (yes), joined by underscores; a speaker or "
            "take may follow a hyphen"
        )
    return tuple(int(word) for word in name.split("_"))


def list_words(words: Iterable[str]) -> str:
    """Return the first words of a list as quoted text, and the number of the others."""
    return one_line(list_some(map(repr, words), _MAX_SHOWN))
