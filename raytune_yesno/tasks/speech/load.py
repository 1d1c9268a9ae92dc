"""Load the corpus that a name stands for: YESNO, the built-in one, or a folder."""

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from raytune_yesno.errors import InputError, suggest_name
from raytune_yesno.home import expand_home
from raytune_yesno.tasks.speech.corpus import Corpus
from raytune_yesno.tasks.speech.download import find_yesno, yesno_folder
from raytune_yesno.tasks.speech.folder import FOLDER, Progress, accept, check_folder
from raytune_yesno.tasks.speech.layouts import Problem
from raytune_yesno.tasks.speech.synthetic import synthesize

YESNO_RECORDINGS = 60


def load_corpus(data: str, *, skip_bad: bool = False, progress: Progress | None = None) -> Corpus:
    """Read the corpus that ``data`` names.

    Args:
        data: ``yesno`` for YESNO in ``$YESNO_ROOT``, else in the user's cache, else downloaded;
            ``synthetic``, ``synthetic:N`` or ``synthetic:N:SEED`` for the built-in corpus; or a
            folder that contains recordings or ``waves_yesno``.
        skip_bad: leave bad recordings out instead of raising.
        progress: called during a download, and while a large corpus is decoded for the first time.

    Raises:
        InputError: the corpus does not exist, or recordings are bad: one line for each problem.
    """
    corpus, problems, folder = check_corpus(data, progress)
    return accept(str(folder or data), corpus, problems, skip_bad=skip_bad)


class Checked(NamedTuple):
    """The good recordings of a corpus, None without one, all problems, and the folder if any."""

    corpus: Corpus | None
    problems: list[Problem]
    folder: Path | None = None


def check_corpus(data: str, progress: Progress | None = None) -> Checked:
    """Read the good recordings of the corpus that ``data`` names, and list all problems.

    A note says if YESNO is incomplete.

    Args:
        data: as of :func:`load_corpus`.
        progress: as of :func:`load_corpus`.

    Raises:
        InputError: the corpus does not exist.
    """
    kind, *numbers = data.split(":")
    if kind == "synthetic":
        if len(numbers) > 2 or not all(re.fullmatch("[0-9]{1,18}", number) for number in numbers):
            raise InputError(f"{data!r}: write synthetic, synthetic:N or synthetic:N:SEED")
        return Checked(synthesize(*map(int, numbers)), [])
    folder = find_yesno(progress) if data == "yesno" else find_folder(data)
    corpus, problems = check_folder(folder, progress)
    if corpus and (note := describe_missing(data, corpus)):
        corpus = replace(corpus, notes=(*corpus.notes, note))
    return Checked(corpus, problems, folder)


def describe_missing(data: str, corpus: Corpus) -> str:
    """Return how many recordings a known corpus has and should have; empty if that is the same."""
    if data != "yesno" or len(corpus) == YESNO_RECORDINGS:
        return ""
    return f"incomplete: {len(corpus)} of {YESNO_RECORDINGS} recordings"


def find_folder(data: str) -> Path:
    """Return the folder of a corpus that is not built in.

    Raises:
        InputError: there is no such folder.
    """
    folder = expand_home(data)
    if not folder.is_dir():
        hint = suggest_name(data, ["yesno", "synthetic"])
        raise InputError(f"{data!r} is not a folder or a known corpus: {hint}")
    return folder


def find_corpus(trained_on: Mapping[str, str]) -> str:
    """Return the argument ``data`` of :func:`load_corpus` for a checkpoint's corpus.

    Args:
        trained_on: a checkpoint's ``corpus``: its source and fingerprint.

    Raises:
        InputError: the corpus is not on this machine.
    """
    source = str(trained_on.get("source", ""))
    if built_in := re.fullmatch(
        r"synthetic \(([0-9]{1,18}) recordings, seed ([0-9]{1,18})\)", source
    ):
        return f"synthetic:{built_in[1]}:{built_in[2]}"
    if Path(source).is_absolute() and Path(source).is_dir():
        return source
    # The path of YESNO may differ from that on the machine of the training.
    if Path(source).name == FOLDER:
        folder = yesno_folder()
        found, _ = check_folder(folder)
        if found and found.fingerprint == trained_on.get("fingerprint"):
            return str(folder)
    raise InputError(
        f"the checkpoint was trained on {source or 'unknown recordings'} "
        f"({trained_on.get('fingerprint')}), which is not on this machine; give its folder, or "
        "another corpus, with --data"
    )
