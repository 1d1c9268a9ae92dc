"""Find the words of a recording by its pauses, for training that knows where they are."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from raytune_yesno.tasks.speech.recording import SAMPLE_RATE

FRAME_SAMPLES = 80  # 10 ms
SMOOTH_FRAMES = 5
SHORTEST_FRAMES = 8
MARGIN_S = 0.1  # kept around a word, for soft beginnings and ends
GAPS_FRAMES = (10, 6, 15, 4, 20)  # shorter pauses belong to a word
THRESHOLDS = np.arange(0.20, 0.75, 0.05)  # between the quiet tenth and the loudest
MOST_UNEVEN = 0.45
LEAST_CONTRAST_DB = 8.0  # between speech and its pauses


@dataclass(frozen=True)
class Span:
    """Where a word is, in samples.

    Attributes:
        begin, end: of the word itself.
        cut_begin, cut_end: of the word with its margins; neighbours do not overlap.
    """

    begin: int
    end: int
    cut_begin: int
    cut_end: int

    @property
    def centre_s(self) -> float:
        return (self.begin + self.end) / 2 / SAMPLE_RATE


def find_words(waveform: npt.NDArray[np.float32], count: int) -> list[Span] | None:
    """Return the spans of ``count`` words in a (samples,) waveform, or None.

    Speech is what is louder than a threshold for long enough. Of all thresholds and shortest pauses
    with which as many stretches are found as there are words, the one counts whose stretches are
    the most alike in length. Where none gives that number, or lengths differ much (two words in
    one stretch, a click for a word), the recording is not segmented.
    """
    level_T = _level_db(waveform)
    if len(level_T) < SHORTEST_FRAMES * count:
        return None
    low, high = np.quantile(level_T, 0.1), np.quantile(level_T, 0.98)
    if high - low < LEAST_CONTRAST_DB:
        return None
    found: list[tuple[float, list[tuple[int, int]]]] = []
    for threshold in THRESHOLDS:
        stretches = _find_runs(level_T > low + threshold * (high - low))
        for gap in GAPS_FRAMES:
            joined = _join(stretches, gap)
            if len(joined) == count:
                lengths = np.array([end - begin for begin, end in joined], dtype=float)
                # A low threshold loses least of a word.
                found.append((lengths.std() / lengths.mean() + threshold / 4, joined))
    if not found:
        return None
    unevenness, best = min(found, key=lambda item: item[0])
    return _add_margins(best, len(waveform)) if unevenness < MOST_UNEVEN else None


def _level_db(waveform: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """Return the level of every 10 ms, smoothed over 50 ms."""
    whole = len(waveform) // FRAME_SAMPLES * FRAME_SAMPLES
    power_T = np.square(waveform[:whole], dtype=np.float64).reshape(-1, FRAME_SAMPLES).mean(1)
    if len(power_T) < SMOOTH_FRAMES:
        return np.zeros(0)
    kernel = np.ones(SMOOTH_FRAMES)
    smooth_T = np.convolve(power_T, kernel, "same") / np.convolve(
        np.ones_like(power_T), kernel, "same"
    )
    return np.asarray(10 * np.log10(smooth_T + 1e-9))


def _find_runs(loud_T: npt.NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Return where each run of True begins and ends."""
    steps = np.diff(loud_T.astype(np.int8), prepend=0, append=0)
    return list(
        zip(np.flatnonzero(steps == 1).tolist(), np.flatnonzero(steps == -1).tolist(), strict=True)
    )


def _join(stretches: list[tuple[int, int]], gap: int) -> list[tuple[int, int]]:
    """Join stretches less than ``gap`` frames apart, and leave out those that are too short."""
    joined: list[tuple[int, int]] = []
    for begin, end in stretches:
        if joined and begin - joined[-1][1] < gap:
            joined[-1] = (joined[-1][0], end)
        else:
            joined.append((begin, end))
    return [(begin, end) for begin, end in joined if end - begin >= SHORTEST_FRAMES]


def _add_margins(frames: list[tuple[int, int]], num_samples: int) -> list[Span]:
    """Turn frames into samples, with at most half of the pause on each side for a margin."""
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
