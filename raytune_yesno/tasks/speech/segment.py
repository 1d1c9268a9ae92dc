"""Find the words of a recording by its pauses, for training with known word times."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from raytune_yesno.tasks.speech.resampler import SAMPLE_RATE

FRAME_SAMPLES = 80  # 10 ms
SMOOTH_FRAMES = 5
SHORTEST_FRAMES = 8
MARGIN_S = 0.1  # kept around a word, which may start and end softly
GAPS_FRAMES = (10, 6, 15, 4, 20)  # candidates: shorter pauses belong to a word
THRESHOLDS = np.arange(0.20, 0.75, 0.05)  # candidates: share of the range from quiet to loud
MOST_UNEVEN = 0.45  # maximum of the relative spread of word lengths, with a penalty for threshold
LEAST_CONTRAST_DB = 8.0  # minimum difference between speech and pauses


@dataclass(frozen=True)
class Span:
    """Position of a word in a recording, in samples.

    Attributes:
        begin: start of the word.
        end: end of the word.
        cut_begin: start of the word with its margin, which does not overlap the previous word.
        cut_end: end of the word with its margin, which does not overlap the next word.
    """

    begin: int
    end: int
    cut_begin: int
    cut_end: int

    @property
    def centre_s(self) -> float:
        """Centre of the word, in seconds."""
        return (self.begin + self.end) / 2 / SAMPLE_RATE


def find_words(waveform: npt.NDArray[np.float32], count: int) -> list[Span] | None:
    """Find the spans of words.

    Speech is a run of frames above a threshold. Among the thresholds and minimum pauses that give
    ``count`` runs, the one with the most similar lengths is chosen. The recording is not segmented
    if there is none or the lengths differ much: a run may have two words, or be a click.

    Args:
        waveform: (samples,) at 8 kHz.
        count: number of words.

    Returns:
        One span per word, or None.
    """
    level_T = _level_db(waveform)
    if len(level_T) < SHORTEST_FRAMES * count:
        return None
    low, high = np.quantile(level_T, 0.1), np.quantile(level_T, 0.98)
    if high - low < LEAST_CONTRAST_DB:
        return None
    found: list[tuple[float, list[tuple[int, int]]]] = []
    for threshold in THRESHOLDS:
        runs = _find_runs(level_T > low + threshold * (high - low))
        for gap in GAPS_FRAMES:
            joined = _join(runs, gap)
            if len(joined) == count:
                lengths = np.array([end - begin for begin, end in joined], dtype=float)
                # A lower threshold keeps more of a word.
                found.append((lengths.std() / lengths.mean() + threshold / 4, joined))
    if not found:
        return None
    unevenness, best = min(found, key=lambda item: item[0])
    return _add_margins(best, len(waveform)) if unevenness < MOST_UNEVEN else None


def _level_db(waveform: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """Return the level of every 10 ms in dB, smoothed over 50 ms."""
    end = len(waveform) // FRAME_SAMPLES * FRAME_SAMPLES
    power_T = np.square(waveform[:end], dtype=np.float64).reshape(-1, FRAME_SAMPLES).mean(1)
    if len(power_T) < SMOOTH_FRAMES:
        return np.zeros(0)
    kernel = np.ones(SMOOTH_FRAMES)
    smooth_T = np.convolve(power_T, kernel, "same") / np.convolve(
        np.ones_like(power_T), kernel, "same"
    )
    return np.asarray(10 * np.log10(smooth_T + 1e-9))


def _find_runs(loud_T: npt.NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Return the start and end of each run of True."""
    steps = np.diff(loud_T.astype(np.int8), prepend=0, append=0)
    return list(
        zip(np.flatnonzero(steps == 1).tolist(), np.flatnonzero(steps == -1).tolist(), strict=True)
    )


def _join(runs: list[tuple[int, int]], gap: int) -> list[tuple[int, int]]:
    """Join runs that are less than ``gap`` frames apart, then drop those that are too short."""
    joined: list[tuple[int, int]] = []
    for begin, end in runs:
        if joined and begin - joined[-1][1] < gap:
            joined[-1] = (joined[-1][0], end)
        else:
            joined.append((begin, end))
    return [(begin, end) for begin, end in joined if end - begin >= SHORTEST_FRAMES]


def _add_margins(frames: list[tuple[int, int]], num_samples: int) -> list[Span]:
    """Convert frames to samples and add margins of at most half of the neighbouring pause."""
    margin = round(MARGIN_S * SAMPLE_RATE)
    edges = [(begin * FRAME_SAMPLES, end * FRAME_SAMPLES) for begin, end in frames]
    spans = []
    for number, (begin, end) in enumerate(edges):
        before = edges[number - 1][1] if number else -begin
        after = edges[number + 1][0] if number + 1 < len(edges) else 2 * num_samples - end
        cut_begin = max(0, begin - margin, (before + begin) // 2)
        cut_end = min(num_samples, end + margin, (end + after) // 2)
        spans.append(Span(begin, end, cut_begin, cut_end))
    return spans
