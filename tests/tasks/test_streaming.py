from collections.abc import Iterable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from raytune_yesno.tasks.speech.decode import Decoding, Word
from raytune_yesno.tasks.speech.features import (
    CONTEXT_FRAMES,
    FEATURES,
    LogMel,
    find_levels,
    pad_silence,
)
from raytune_yesno.tasks.speech.networks import Net, ShiftAverage
from raytune_yesno.tasks.speech.streaming import FrameStream, WordStream
from raytune_yesno.tasks.speech.synthetic import synthesize

CORPUS = synthesize(6)
# Recordings with silence of some lengths between them: 40 s.
SPEECH = torch.cat(
    [torch.cat([CORPUS[n][0][0], torch.zeros(1000 * n * n)]) for n in range(len(CORPUS))]
)
KINDS = FEATURES
EXTRACT = {kind: LogMel(torch.float32, kind, 1.6) for kind in KINDS}


@pytest.fixture(scope="module", params=[1, 4])
def network(request: pytest.FixtureRequest) -> ShiftAverage:
    """Return a network that knows nothing, and so hears much."""
    torch.manual_seed(0)
    network = Net(3, channels=(4, 8), hidden_units=16)
    with torch.no_grad():
        network.fc2.weight *= 30
        network.fc2.bias.zero_()
    return ShiftAverage(network, request.param).eval()


def read_whole(
    network: ShiftAverage, extract: LogMel, waveform: Tensor, decoding: Decoding
) -> list[Word]:
    feature_FT = pad_silence(extract(waveform))
    with torch.no_grad():
        logp_BPC = network(feature_FT[None, None])
    return decoding.decode(logp_BPC[0], find_levels(feature_FT))


def read(stream: WordStream, pieces: Iterable[Tensor]) -> list[Word]:
    words = []
    for piece in pieces:
        words += stream.push(piece)
    return words + stream.finish()


def places(words: Iterable[Word]) -> list[tuple[int, int, int]]:
    return [(word.label, word.first, word.last) for word in words]


@st.composite
def pieces(draw: st.DrawFn) -> list[Tensor]:
    """Draw part of the speech, in pieces of any lengths."""
    start = draw(st.integers(0, len(SPEECH)))
    length = draw(st.integers(0, len(SPEECH) - start))
    cuts = draw(st.lists(st.integers(0, length), max_size=8))
    part = SPEECH[start : start + length]
    return [*part.tensor_split(sorted(cuts))]


@pytest.mark.parametrize("kind", KINDS)
class TestFrames:
    @settings(max_examples=30)
    @given(pieces=pieces(), block_s=st.sampled_from([0.02, 0.24, 1.0, 10.0, 60.0]))
    def test_are_those_of_the_whole(self, kind: str, pieces: list[Tensor], block_s: float) -> None:
        stream = FrameStream(EXTRACT[kind], block_s)
        frames = [frame for piece in pieces for frame in stream.push(piece)]
        frames += stream.finish()
        whole = torch.cat(pieces)
        if len(whole) < 256:
            assert not frames
        else:
            torch.testing.assert_close(torch.cat(frames, dim=1), EXTRACT[kind](whole))


class TestWords:
    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize("block_s", [0.24, 3.0, 60.0])
    @pytest.mark.parametrize(
        ("piece", "decoding"),
        [
            (700, Decoding(2, 0.5)),
            (8000, Decoding(0, 0.5, 0.5)),
            (8000, Decoding(3, 0.5, 0.9)),
            (10**6, Decoding(2, 0.5)),
        ],
    )
    def test_are_those_of_the_whole(
        self, network: ShiftAverage, kind: str, block_s: float, piece: int, decoding: Decoding
    ) -> None:
        expected = read_whole(network, EXTRACT[kind], SPEECH, decoding)
        words = read(WordStream(network, EXTRACT[kind], block_s, decoding), SPEECH.split(piece))
        assert len(expected) > 10
        assert places(words) == places(expected)
        assert [word.confidence for word in words] == pytest.approx(
            [word.confidence for word in expected], abs=1e-5
        )

    def test_come_before_the_recording_ends(self, network: ShiftAverage) -> None:
        stream = WordStream(network, EXTRACT["local"], 0.24)
        early = [word for piece in SPEECH.split(2000) for word in stream.push(piece)]
        late = stream.finish()
        assert len(early) > len(late)

    def test_come_soon(self, network: ShiftAverage) -> None:
        """A word is there once the context of its last window, and a block, have been heard."""
        stream = WordStream(network, EXTRACT["local"], 0.24)
        delays = []
        for piece in SPEECH.split(1920):
            words = stream.push(piece)
            frame = stream.num_samples // 160
            # Frames heard after the last one of the window at the position after a word's last.
            delays += [frame - (4 * (word.last + 1) + 27 - 20) for word in words]
        assert min(delays) >= 0
        # A word that ends while the network sees no blank waits for the next one.
        assert sorted(delays)[len(delays) // 2] <= CONTEXT_FRAMES + 2 * 12 + 4

    def test_of_nothing_are_none(self, network: ShiftAverage) -> None:
        for kind in KINDS:
            assert read(WordStream(network, EXTRACT[kind]), []) == []
            assert read(WordStream(network, EXTRACT[kind]), [torch.zeros(255)]) == []

    @pytest.mark.long
    @pytest.mark.parametrize("block_s", [0.24, 60.0])
    def test_what_is_kept_does_not_grow(self, network: ShiftAverage, block_s: float) -> None:
        def kept(stream: WordStream) -> int:
            tensors = [*stream._frames._pieces, stream._feature_FT, stream._logp_PC]
            tensors.append(stream._level_P)
            return sum(tensor.untyped_storage().nbytes() for tensor in tensors)

        stream, sizes = WordStream(network, EXTRACT["local"], block_s), []
        for turn in range(8):
            for piece in SPEECH.split(8000):
                stream.push(piece.clone())
                sizes.append((turn, kept(stream)))
        first, last = (max(size for turn, size in sizes if turn // 4 == half) for half in (0, 1))
        assert last <= 1.05 * first
