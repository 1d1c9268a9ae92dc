"""From log-probabilities to words, and from words to errors.

Axes in names: C classes (0 blank, 1 no, 2 yes), P window positions.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Word:
    """One decoded word: its label (1 yes, 0 no), first and last position, mean probability."""

    label: int
    first: int
    last: int
    confidence: float


def greedy_decode(logp_PC: Tensor) -> list[Word]:
    """Read the best CTC path: collapse repeats, drop blanks.

    Graves et al. (2006), "Connectionist temporal classification", section 3.2, best path decoding.
    """
    best_P = logp_PC.argmax(-1).tolist()
    words: list[Word] = []
    first = 0
    for position in range(1, len(best_P) + 1):
        if position < len(best_P) and best_P[position] == best_P[first]:
            continue
        if (symbol := best_P[first]) != 0:
            confidence = logp_PC[first:position, symbol].exp().mean().item()
            words.append(Word(symbol - 1, first, position - 1, confidence))
        first = position
    return words


@dataclass(frozen=True)
class ErrorCount:
    """Word errors against a reference; adds up over recordings."""

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
        return self.substitutions + self.insertions + self.deletions

    @property
    def wer(self) -> float:
        """Word error rate, a fraction; NaN without reference words."""
        return self.errors / self.words if self.words else float("nan")


def count_errors(reference: Sequence[int], hypothesis: Sequence[int]) -> ErrorCount:
    """Align two word sequences with the fewest edits (Levenshtein, 1966) and count them by kind."""
    # Row i, column j: (edits, substitutions, insertions, deletions) from reference[:i] to
    # hypothesis[:j]. `min` prefers substitutions among equals.
    row = [(j, 0, j, 0) for j in range(len(hypothesis) + 1)]
    for i, expected in enumerate(reference, start=1):
        previous, row = row, [(i, 0, 0, i)]
        for j, heard in enumerate(hypothesis, start=1):
            edits, subs, ins, dels = previous[j - 1]
            wrong = int(expected != heard)
            substitute = (edits + wrong, subs + wrong, ins, dels)
            edits, subs, ins, dels = row[j - 1]
            insert = (edits + 1, subs, ins + 1, dels)
            edits, subs, ins, dels = previous[j]
            delete = (edits + 1, subs, ins, dels + 1)
            row.append(min(substitute, insert, delete, key=lambda counts: counts[0]))
    _, substitutions, insertions, deletions = row[-1]
    return ErrorCount(len(reference), substitutions, insertions, deletions)


def match_words(reference: Sequence[int], hypothesis: Sequence[int]) -> list[bool]:
    """Return whether each word of the hypothesis is right, in an alignment of fewest edits."""
    edits = [[i + j for j in range(len(hypothesis) + 1)] for i in range(len(reference) + 1)]
    for i, expected in enumerate(reference, start=1):
        for j, heard in enumerate(hypothesis, start=1):
            edits[i][j] = min(
                edits[i - 1][j - 1] + int(expected != heard),
                edits[i][j - 1] + 1,
                edits[i - 1][j] + 1,
            )
    i, right = len(reference), [False] * len(hypothesis)
    j = len(hypothesis)
    while i and j:
        wrong = int(reference[i - 1] != hypothesis[j - 1])
        if edits[i][j] == edits[i - 1][j - 1] + wrong:
            right[j - 1] = not wrong
            i, j = i - 1, j - 1
        elif edits[i][j] == edits[i][j - 1] + 1:
            j -= 1
        else:
            i -= 1
    return right
