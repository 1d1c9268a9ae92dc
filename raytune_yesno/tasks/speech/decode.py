"""Decoding of log-probabilities to words, and counting of word errors.

Axes in names: C classes (0 blank, 1 no, 2 yes), P window positions.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

REACH = 2
"""Positions on each side of a word, 0.16 s, that the score of new checkpoints depends on."""
SHARPNESS = 4
"""Exponent of the sum of probabilities: spreads the scores over the bins of the calibration."""
LEVEL_WEIGHT = 1.0
"""Weight of the level of the sound in the log-odds of new checkpoints.

A clear word that the model knows scores high. In noise, words and other sounds score lower. Without
the level, a threshold that keeps words in noise accepts other clear speech.
"""


@dataclass(frozen=True)
class Word:
    """One decoded word.

    Attributes:
        label: 1 yes, 0 no.
        first: first window position.
        last: last window position.
        confidence: score of the word between 0 and 1, or its calibrated value.
    """

    label: int
    first: int
    last: int
    confidence: float


def greedy_decode(
    logp_PC: Tensor,
    reach: int = 0,
    level_P: Tensor | None = None,
    *,
    begin: int = 0,
    end: int | None = None,
) -> list[Word]:
    """Decode the best CTC path: collapse repeats, then drop blanks.

    This is best path decoding (Graves et al., "Connectionist temporal classification", 2006,
    section 3.2).

    The score of a word is its mean probability if ``reach`` is 0. Otherwise the word's
    probabilities are added up over its positions and ``reach`` more on each side, and the fourth
    power of the sum is the odds. A word is heard at several positions; a sound that resembles one
    is often heard as it at one position, where its probability can be as high. If levels are
    given, the largest level of the word's positions is subtracted from the log-odds.

    Args:
        logp_PC: (P, C) log-probabilities.
        reach: number of positions before and after a word that its score depends on.
        level_P: (P,) levels in nepers, times the weight of the level; unused if ``reach`` is 0.
        begin: first position to decode.
        end: position after the last to decode; None for all.
    """
    best_P = logp_PC[begin:end].argmax(-1).tolist()
    words: list[Word] = []
    first = 0
    for position in range(1, len(best_P) + 1):
        if position < len(best_P) and best_P[position] == best_P[first]:
            continue
        if (symbol := best_P[first]) != 0:
            start, stop = begin + first, begin + position
            p_P = logp_PC[max(0, start - reach) : stop + reach, symbol].exp()
            odds = p_P.sum().item() ** SHARPNESS
            if level_P is not None:
                odds *= math.exp(-level_P[start:stop].max().item())
            score = odds / (1 + odds) if reach else p_P.mean().item()
            words.append(Word(symbol - 1, start, stop - 1, score))
        first = position
    return words


@dataclass(frozen=True)
class ErrorCount:
    """Word errors against a reference. Counts of several recordings can be added."""

    words: int = 0
    substitutions: int = 0
    insertions: int = 0
    deletions: int = 0

    def __add__(self, other: "ErrorCount") -> "ErrorCount":
        return ErrorCount(
            self.words + other.words,
            self.substitutions + other.substitutions,
            self.insertions + other.insertions,
            self.deletions + other.deletions,
        )

    @property
    def errors(self) -> int:
        """Total number of errors."""
        return self.substitutions + self.insertions + self.deletions

    @property
    def wer(self) -> float:
        """Word error rate, a fraction; NaN without reference words."""
        return self.errors / self.words if self.words else float("nan")


def count_errors(reference: Sequence[int], hypothesis: Sequence[int]) -> ErrorCount:
    """Count the word errors of a hypothesis by kind, with the fewest edits (Levenshtein, 1966)."""
    pairs = align_words(reference, hypothesis)
    return ErrorCount(
        len(reference),
        substitutions=sum(
            i is not None and j is not None and reference[i] != hypothesis[j] for i, j in pairs
        ),
        insertions=sum(i is None for i, _ in pairs),
        deletions=sum(j is None for _, j in pairs),
    )


def match_words(reference: Sequence[int], hypothesis: Sequence[int]) -> list[bool]:
    """Return for each word of the hypothesis whether it is right in the alignment."""
    correct = [False] * len(hypothesis)
    for i, j in align_words(reference, hypothesis):
        if i is not None and j is not None:
            correct[j] = reference[i] == hypothesis[j]
    return correct


def align_words(
    reference: Sequence[int], hypothesis: Sequence[int]
) -> list[tuple[int | None, int | None]]:
    """Align two word sequences with the fewest edits. Ties go to the most substitutions.

    Returns:
        Pairs of indices into reference and hypothesis, in order. The index is None in the
        hypothesis for a deletion, and in the reference for an insertion.
    """
    columns = len(hypothesis) + 1
    # edits[i][j]: fewest edits from reference[:i] to hypothesis[:j]
    edits = [list(range(columns))]
    for i, expected in enumerate(reference, start=1):
        row = [i]
        for j, heard in enumerate(hypothesis, start=1):
            substitute = edits[-1][j - 1] + (expected != heard)
            row.append(min(substitute, row[-1] + 1, edits[-1][j] + 1))
        edits.append(row)
    pairs: list[tuple[int | None, int | None]] = []
    i, j = len(reference), len(hypothesis)
    while i or j:
        substitutes = (
            i and j and edits[i][j] == edits[i - 1][j - 1] + (reference[i - 1] != hypothesis[j - 1])
        )
        if substitutes:
            i, j = i - 1, j - 1
            pairs.append((i, j))
        elif j and edits[i][j] == edits[i][j - 1] + 1:
            j -= 1
            pairs.append((None, j))
        else:
            i -= 1
            pairs.append((i, None))
    return pairs[::-1]
