import builtins
from pathlib import Path
from typing import Any

import pytest
import torch

from raytune_yesno.commands.plots import draw_text, save_picture
from raytune_yesno.errors import InputError
from raytune_yesno.tasks.speech.corpus import Corpus


def tone(seconds: float, *, falling: bool = False) -> torch.Tensor:
    """Return a (1, samples) tone of 1 kHz that gets louder, or softer."""
    time = torch.arange(int(8000 * seconds)) / 8000
    loudness = torch.linspace(0, 0.5, len(time)) ** 2
    loudness = loudness.flip(0) if falling else loudness
    return (torch.sin(2 * torch.pi * 1000 * time) * loudness)[None]


class TestText:
    @pytest.mark.parametrize("width", [40, 76])
    def test_is_as_wide_as_asked_and_two_rows_over_fourteen(self, width: int) -> None:
        lines = draw_text(tone(3), width=width).splitlines()
        assert len(lines) == 1 + 2 + 1 + 14 + 1
        assert {len(line) for line in (*lines[1:3], *lines[4:18])} == {width}
        assert lines[-1].startswith("0 s")
        assert lines[-1].endswith("3.00 s")

    def test_shows_where_it_is_loud(self) -> None:
        rising = draw_text(tone(3)).splitlines()
        falling = draw_text(tone(3, falling=True)).splitlines()
        assert rising[2] == falling[2][::-1]
        assert rising[2][0] == " "
        assert rising[1][-1] == "█"

    def test_shows_low_bands_below_high_ones(self) -> None:
        time = torch.arange(8000) / 8000
        low, high = (torch.sin(2 * torch.pi * hz * time)[None] * 0.5 for hz in (100, 3900))
        bands = draw_text(torch.cat([low, high], dim=1)).splitlines()[4:18]
        darkness = [[" ░▒▓█".index(shade) for shade in row] for row in bands]
        lefts = [sum(row[:38]) - sum(row[38:]) for row in darkness]
        assert lefts[0] < 0 < lefts[-1]


class TestFile:
    def test_is_a_png(self, small_corpus: Corpus, tmp_path: Path) -> None:
        pytest.importorskip("matplotlib")
        save_picture(small_corpus[0][0], "a title", tmp_path / "picture.png")
        assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")

    @pytest.mark.parametrize("name", ["nowhere/picture.png", "picture.nonsense"])
    def test_that_cannot_be_written_is_named(self, name: str, tmp_path: Path) -> None:
        pytest.importorskip("matplotlib")
        with pytest.raises(InputError, match=name):
            save_picture(tone(1), "a title", tmp_path / name)
        assert list(tmp_path.iterdir()) == []

    def test_needs_a_library_and_says_how_to_get_it(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        load = builtins.__import__

        def load_but_matplotlib(name: str, *arguments: Any) -> Any:
            if name.startswith("matplotlib"):
                raise ImportError(name)
            return load(name, *arguments)

        monkeypatch.setattr(builtins, "__import__", load_but_matplotlib)
        with pytest.raises(InputError, match="pip install"):
            save_picture(tone(1), "a title", tmp_path / "picture.png")
