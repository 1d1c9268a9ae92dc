import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torchaudio.functional import edit_distance

from raytune_yesno.tasks.speech.decode import BEST_PATH, Decoding, ErrorCount, Word, count_errors

WORDS = st.lists(st.integers(0, 1), max_size=12)
BLANK, NO, YES = 0, 1, 2


def logp_of(path: list[int], probability: float = 0.8) -> Tensor:
    """Return (P, 3) log-probabilities whose best path is ``path``."""
    p_PC = torch.full((len(path), 3), (1 - probability) / 2, dtype=torch.float64)
    p_PC[torch.arange(len(path)), path] = probability
    return p_PC.log()


def decode(
    logp_PC: Tensor, decoding: Decoding = BEST_PATH, begin: int = 0, end: int | None = None
) -> list[Word]:
    """Decode sound of level 0."""
    return decoding.decode(logp_PC, torch.zeros(len(logp_PC)), begin=begin, end=end)


class TestDecoding:
    @pytest.mark.parametrize(
        ("path", "spans"),
        [
            ([], []),
            ([BLANK, BLANK], []),
            ([NO], [(0, 0, 0)]),
            ([YES, YES, YES], [(1, 0, 2)]),
            ([BLANK, YES, YES, BLANK], [(1, 1, 2)]),
            ([NO, BLANK, NO], [(0, 0, 0), (0, 2, 2)]),
            ([NO, NO, YES, BLANK], [(0, 0, 1), (1, 2, 2)]),
            ([BLANK, YES, NO, NO, BLANK, NO], [(1, 1, 1), (0, 2, 3), (0, 5, 5)]),
        ],
    )
    def test_collapses_repeats_then_drops_blanks(
        self, path: list[int], spans: list[tuple[int, int, int]]
    ) -> None:
        words = decode(logp_of(path))
        assert [(word.label, word.first, word.last) for word in words] == spans
        assert [word.confidence for word in words] == pytest.approx([0.8] * len(spans))

    def test_confidence_is_the_words_mean_probability(self) -> None:
        p_PC = torch.tensor([[0.1, 0.1, 0.8], [0.3, 0.1, 0.6], [0.9, 0.1, 0.0]])
        assert decode(p_PC.log()) == [Word(1, 0, 1, pytest.approx(0.7))]

    def test_with_a_reach_a_word_heard_for_longer_scores_higher(self) -> None:
        short, long = logp_of([BLANK, YES, BLANK, BLANK]), logp_of([BLANK, YES, YES, BLANK])
        [brief], [held] = (decode(logp_PC, Decoding(reach=1)) for logp_PC in (short, long))
        assert 0 < brief.confidence < held.confidence < 1
        # 0.1 before, 0.8 and 0.8 during, 0.1 after the word
        assert held.confidence == pytest.approx(1.8**4 / (1 + 1.8**4))

    def test_the_level_of_a_word_lowers_its_score(self) -> None:
        logp_PC, level_P = logp_of([BLANK, YES, YES, BLANK]), torch.tensor([9.0, 1.0, 2.0, 9.0])
        [word] = Decoding(reach=1, level_weight=0.5).decode(logp_PC, level_P)
        odds = 1.8**4 / math.exp(0.5 * 2.0)
        assert word.confidence == pytest.approx(odds / (1 + odds))

    def test_a_part_is_decoded_as_in_the_whole(self) -> None:
        logp_PC = logp_of([YES, BLANK, NO, NO, BLANK, YES])
        decoding = Decoding(reach=2)
        whole = decode(logp_PC, decoding)
        assert [*decode(logp_PC, decoding, end=2), *decode(logp_PC, decoding, begin=2)] == whole
        assert len(whole) == 3

    def test_a_weak_word_far_from_others_is_heard(self) -> None:
        logp_PC = logp_of([YES] + [BLANK] * 9, 0.98)
        logp_PC[7] = torch.tensor([0.7, 0.28, 0.02]).log()
        decoding = Decoding(weak_share=0.25)
        assert decode(logp_PC) == decode(logp_PC, Decoding(weak_share=0.5))
        [strong, weak] = decode(logp_PC, decoding)
        assert decode(logp_PC) == [strong]
        assert weak == Word(0, 7, 7, pytest.approx(0.28))

    @pytest.mark.parametrize(("gap", "heard"), [(1, 1), (2, 1), (3, 2)])
    def test_a_weak_word_near_another_is_part_of_it(self, gap: int, heard: int) -> None:
        logp_PC = logp_of([BLANK] * 6 + [YES] + [BLANK] * 6, 0.98)
        logp_PC[7 + gap] = logp_PC[5 - gap] = torch.tensor([0.7, 0.28, 0.02]).log()
        assert len(decode(logp_PC, Decoding(weak_share=0.25))) == 2 * heard - 1

    def test_a_weak_word_is_that_of_most_probability(self) -> None:
        logp_PC = logp_of([BLANK] * 8, 0.98)
        logp_PC[3] = torch.tensor([0.6, 0.25, 0.15]).log()
        logp_PC[4] = torch.tensor([0.6, 0.05, 0.35]).log()
        [word] = decode(logp_PC, Decoding(weak_share=0.25))
        assert (word.label, word.first, word.last) == (1, 3, 4)

    @given(WORDS, st.data())
    def test_reads_back_any_words_however_long_they_are_held(
        self, words: list[int], data: st.DataObject
    ) -> None:
        path: list[int] = []
        for before, word in zip([None, *words], words, strict=False):
            least = 1 if word == before else 0
            path += [BLANK] * data.draw(st.integers(least, 2))
            path += [word + 1] * data.draw(st.integers(1, 3))
        assert [word.label for word in decode(logp_of(path))] == words


class TestCountErrors:
    @pytest.mark.parametrize(
        ("reference", "hypothesis", "subs_ins_dels"),
        [
            ([], [], (0, 0, 0)),
            ([1, 0, 1], [1, 0, 1], (0, 0, 0)),
            ([1, 0, 1], [1, 1, 1], (1, 0, 0)),
            ([1, 0], [1, 0, 0], (0, 1, 0)),
            ([1, 0, 0], [1, 0], (0, 0, 1)),
            ([1, 1], [], (0, 0, 2)),
            ([], [0, 1, 1], (0, 3, 0)),
            ([0, 0, 0, 1], [0, 1, 1], (1, 0, 1)),
            ([0, 1, 0, 1], [1, 0, 1, 0], (0, 1, 1)),
        ],
    )
    def test_by_kind(
        self, reference: list[int], hypothesis: list[int], subs_ins_dels: tuple[int, int, int]
    ) -> None:
        assert count_errors(reference, hypothesis) == ErrorCount(len(reference), *subs_ins_dels)

    @given(WORDS, WORDS)
    def test_is_the_edit_distance(self, reference: list[int], hypothesis: list[int]) -> None:
        count = count_errors(reference, hypothesis)
        assert count.errors == edit_distance(reference, hypothesis)
        assert count.words == len(reference)
        assert min(count.substitutions, count.insertions, count.deletions) >= 0
        assert count.insertions - count.deletions == len(hypothesis) - len(reference)
        assert count.substitutions + count.deletions <= len(reference)

    @given(WORDS, WORDS)
    def test_swapping_the_sides_swaps_insertions_and_deletions(
        self, reference: list[int], hypothesis: list[int]
    ) -> None:
        there, back = count_errors(reference, hypothesis), count_errors(hypothesis, reference)
        assert there.errors == back.errors
        assert there.insertions - there.deletions == back.deletions - back.insertions


def test_counts_add_up_over_recordings() -> None:
    total = sum([ErrorCount(8, 1, 0, 1), ErrorCount(12, 0, 3, 0)], ErrorCount())
    assert total == ErrorCount(20, 1, 3, 1)
    assert (total.errors, total.wer) == (5, 0.25)
    assert math.isnan(ErrorCount(insertions=2).wer)
