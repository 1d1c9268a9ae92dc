"""The split of a corpus into training, validation and test parts."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from raytune_yesno.errors import InputError
from raytune_yesno.tasks.speech.corpus import Corpus
from raytune_yesno.tasks.speech.transcript import PARTS, list_words, normalise
from raytune_yesno.text import join_names

MAX_VALIDATION = 250
"""Maximum number of validation recordings: a larger part costs time and decides nothing more."""
SPEAKERS_TO_VALIDATE = 4
"""With as many training speakers, the validation part has speakers of its own."""


@dataclass(frozen=True)
class Split:
    """Indices of the recordings in three disjoint parts of a corpus."""

    train: tuple[int, ...]
    valid: tuple[int, ...]
    test: tuple[int, ...]


def split_corpus(
    corpus: Corpus | int,
    *,
    seed: int,
    swap_halves: bool = False,
    split_by: str = "auto",
    test_speakers: str = "",
    folds: int = 0,
) -> Split:
    """Split a corpus into training, validation and test parts.

    ``position``: as in lhotse and icefall, the recordings with an even index in the sorted names
    are for training and those with an odd one for the test. ``column``: the corpus names the part
    of each recording. ``speaker``: the test part has speakers of its own. ``auto``: by column if
    the corpus has one, else by position.

    Where the corpus names no validation part, it is a fifth of the training part, at least one
    recording and at most :data:`MAX_VALIDATION`. It is chosen by hashes of seed and index, which
    are the same on every machine. With ``speaker`` and at least :data:`SPEAKERS_TO_VALIDATE`
    training speakers, it is a fifth of these speakers. Recordings without a speaker are then for
    training.

    With ``folds``, it is instead fold ``seed % folds`` of a fixed division into that many folds, of
    speakers with ``speaker``, else of recordings. Repeats of a point have other seeds, and
    consecutive ones all folds in turn.

    Args:
        corpus: the corpus, or its number of recordings.
        seed: seed for the choice of the validation part.
        swap_halves: by position, train on the odd half and test on the even one.
        split_by: ``auto``, ``position``, ``column`` or ``speaker``.
        test_speakers: by speaker, the names of the test part's speakers, joined by commas; empty
            for a fifth of the speakers.
        folds: number of cross-validation folds; below 2 for a part that the seed draws.

    Raises:
        InputError: a part would be empty, folds are asked for but the corpus names its validation
            part or has fewer speakers, or the corpus does not know what to split by.
    """
    folds = folds if folds > 1 else 0
    size = corpus if isinstance(corpus, int) else len(corpus)
    parts = () if isinstance(corpus, int) else corpus.parts
    speakers = () if isinstance(corpus, int) else corpus.speakers
    valid: Sequence[int] = ()
    if split_by == "speaker":
        learn, test = _split_speakers(speakers, test_speakers)
        names = sorted({speakers[n] for n in learn} - {""})
        if folds:
            if len(names) < folds:
                raise InputError(
                    f"folds: {folds} folds need as many speakers to train on, not {len(names)}"
                )
            chosen = _choose_fold(names, folds, seed)
            valid = [n for n in learn if speakers[n] in chosen]
        elif len(names) >= SPEAKERS_TO_VALIDATE:
            chosen = _shuffle(names, seed)[: len(names) // 5 or 1]
            valid = [n for n in learn if speakers[n] in chosen]
    elif split_by == "column" or (split_by == "auto" and parts):
        if not parts:
            raise InputError("split_by=column: the corpus has no column 'split'; add it")
        learn, valid, test = ([n for n in range(size) if parts[n] == part] for part in PARTS)
    else:
        learn, test = list(range(0, size, 2)), list(range(1, size, 2))
        learn, test = (test, learn) if swap_halves else (learn, test)
    if valid and folds and split_by != "speaker":
        raise InputError("folds: the corpus names its validation part; omit folds")
    if not valid and folds:
        valid = _choose_fold(learn, folds, seed)
    elif not valid:
        valid = _shuffle(learn, seed)[: min(MAX_VALIDATION, max(1, len(learn) // 5))]
    held_out = {*valid}
    train = [n for n in learn if n not in held_out]
    named = zip(PARTS, (train, valid, test), strict=True)
    if empty := [part for part, chosen in named if not chosen]:
        raise InputError(
            f"too few recordings: none of {size} is left for {join_names(empty)}; record more, or "
            "change the split (split_by, test_speakers, the column split)"
        )
    return Split(tuple(train), tuple(sorted(valid)), tuple(test))


def _choose_fold(items: Sequence[Any], folds: int, seed: int) -> list[Any]:
    """Return the items of fold ``seed % folds``. The folds depend only on the items."""
    return _shuffle(items, "folds")[seed % folds :: folds]


def _split_speakers(speakers: Sequence[str], chosen: str) -> tuple[list[int], list[int]]:
    """Return the recordings of the other speakers and those of the speakers of the test."""
    names = sorted({*speakers} - {""})
    if len(names) < 2:
        raise InputError(
            f"split_by=speaker: the corpus names {len(names)} speakers; name two or more, as "
            "folders in the folders of words (yes/anna/1.wav), in a column 'speaker' of "
            "transcripts.tsv, or in YESNO's names (0_1-anna.wav, anna/0_1.wav)"
        )
    tested = [name for name in map(normalise, chosen.split(",")) if name]
    if unknown := sorted({*tested} - {*names}):
        raise InputError(
            f"test_speakers: the corpus has no speaker {list_words(unknown)}; it has "
            f"{list_words(names)}"
        )
    tested = tested or _shuffle(names, "test")[: len(names) // 5 or 1]
    test = [n for n, speaker in enumerate(speakers) if speaker in tested]
    return [n for n, speaker in enumerate(speakers) if speaker not in tested], test


def _shuffle(items: Sequence[Any], seed: int | str) -> list[Any]:
    """Return items in the order of hashes of seed and item."""
    return sorted(items, key=lambda item: hashlib.sha256(f"{seed} {item}".encode()).digest())
