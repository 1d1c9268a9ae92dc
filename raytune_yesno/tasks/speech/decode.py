"""Decoding of log-probabilities to words, and counting of word errors.

Axes in names: C classes (0 is blank, n + 1 is word n of the vocabulary), P window positions.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace

import torch.nn.functional as F
from torch import Tensor

SHARPNESS = 4
"""Exponent of the sum of probabilities: spreads the scores over the bins of the calibration."""
WEAK_GAP = 3
"""Positions, 0.24 s, that separate a weak word from others. Closer ones are parts of these."""


@dataclass(frozen=True)
class Word:
    """One decoded word.

    Attributes:
        label: index of the word in the vocabulary.
        first: first window position.
        last: last window position.
        confidence: score of the word between 0 and 1, or its calibrated value.
    """

    label: int
    first: int
    last: int
    confidence: float


@dataclass(frozen=True)
class Decoding:
    """How log-probabilities become words with scores.

    The words are those of the best CTC path: repeats are collapsed, then blanks dropped (Graves et
    al., "Connectionist temporal classification", 2006, section 3.2). Far from these words, a weak
    word is one whose probability is only a share of that of blank. Two thresholds, a low one where
    nothing else is heard, find more words at the same number of false alarms than one.

    The score of a word is its mean probability if ``reach`` is 0. Otherwise the word's
    probabilities are added up over its positions and ``reach`` more on each side, and the fourth
    power of the sum is the odds. A word is heard at several positions; a sound that resembles one
    is often heard as it at one position, where its probability can be as high.

    A clear word that the model knows scores high. In noise, words and other sounds score lower.
    Without the level of the sound, a threshold that keeps words in noise accepts other clear
    speech. The largest level of the word's positions is therefore subtracted from the log-odds.

    Attributes:
        reach: number of positions before and after a word that its score depends on.
        level_weight: weight of the level of the sound in the log-odds; unused if ``reach`` is 0.
        weak_share: least share of blank's probability that a weak word has; 0 for no weak words.
    """

    reach: int = 0
    level_weight: float = 0.0
    weak_share: float = 0.0

    @property
    def context(self) -> int:
        """Number of positions on each side that the words at a position depend on."""
        return max(self.reach, WEAK_GAP if self.weak_share else 0)

    def decode(
        self, logp_PC: Tensor, level_P: Tensor, *, begin: int = 0, end: int | None = None
    ) -> list[Word]:
        """Return the words.

        Args:
            logp_PC: (P, C) log-probabilities.
            level_P: (P,) levels in nepers.
            begin: first position to decode.
            end: position after the last to decode; None for all.
        """
        words = []
        for start, stop, symbol in _runs(self.label(logp_PC)[begin:end].tolist()):
            first, stop = begin + start, begin + stop
            if symbol < 0:  # a weak word is that of its positions' largest sum
                symbol = 1 + int(logp_PC[first:stop, 1:].exp().sum(0).argmax())
            p_P = logp_PC[max(0, first - self.reach) : stop + self.reach, symbol].exp()
            odds = p_P.sum().item() ** SHARPNESS
            odds *= math.exp(-self.level_weight * level_P[first:stop].max().item())
            score = odds / (1 + odds) if self.reach else p_P.mean().item()
            words.append(Word(symbol - 1, first, stop - 1, score))
        return words

    def label(self, logp_PC: Tensor) -> Tensor:
        """Return the (P,) classes of (P, C) log-probabilities: 0 blank, -1 a weak word."""
        best_P = logp_PC.argmax(-1)
        if not self.weak_share or not len(best_P):
            return best_P
        weak_P = logp_PC[:, 1:].amax(-1) >= logp_PC[:, 0] + math.log(self.weak_share)
        spoken_1P = (best_P != 0).to(logp_PC.dtype)[None]
        near_P = F.max_pool1d(spoken_1P, 2 * WEAK_GAP + 1, 1, WEAK_GAP)[0] > 0
        return best_P.masked_fill(weak_P & ~near_P, -1)

    def as_dict(self) -> dict[str, float]:
        """Return the attributes by name."""
        return {name: float(value) for name, value in asdict(self).items()}


BEST_PATH = Decoding()
"""Best path decoding, with mean probabilities as scores."""

DECODING = Decoding(reach=4, level_weight=1.0, weak_share=0.7)
"""How new checkpoints decode. The reach is 0.32 s."""
SHORT_DECODING = replace(DECODING, weak_share=0.25)
"""The same for a corpus of single words, of which many are cut off at the beginning or the end."""


def _runs(labels: Sequence[int]) -> Iterator[tuple[int, int, int]]:
    """Yield the start, stop and label of each run of equal labels, but 0."""
    start = 0
    for position in range(1, len(labels) + 1):
        if position == len(labels) or labels[position] != labels[start]:
            if labels[start]:
                yield start, position, labels[start]
            start = position


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
