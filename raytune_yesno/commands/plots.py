"""Pictures of a recording: in text for a terminal, as a PNG for a page."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from raytune_yesno.errors import InputError
from raytune_yesno.tasks.speech.features import HOP_S, LogMel
from raytune_yesno.tasks.speech.recording import SAMPLE_RATE

_EIGHTHS = " ▁▂▃▄▅▆▇█"
_SHADES = " ░▒▓█"


def draw_text(waveform: Tensor, width: int = 76) -> str:
    """Draw a (1, samples) waveform's envelope over its 28-band log-mel spectrogram, in text."""
    length_s = waveform.shape[-1] / SAMPLE_RATE
    columns = torch.tensor_split(waveform[0].abs(), width)
    envelope = torch.stack([column.max() if len(column) else column.sum() for column in columns])
    peak = float(envelope.max())
    heights = (envelope / max(peak, 1e-9) * 16).round().int().tolist()
    rows = [
        "".join(_EIGHTHS[max(0, min(8, height - below))] for height in heights) for below in (8, 0)
    ]
    feature_FT = LogMel()(waveform)
    pooled = torch.nn.functional.adaptive_avg_pool2d(feature_FT[None], (14, width))[0]
    low, high = pooled.quantile(0.2), pooled.max()
    shades = ((pooled - low) / (high - low + 1e-9) * 5).clamp(0, 4).int().flip(0).tolist()
    bands = ["".join(_SHADES[shade] for shade in row) for row in shades]
    axis = f"0 s{f'{length_s:.2f} s':>{width - 3}}"
    return "\n".join(
        [f"waveform, peak {peak:.2f}", *rows, "28 mel bands, 0 to 4 kHz", *bands, axis]
    )


def format_ladder(by_snr: list[dict[str, Any]]) -> str:
    """Return a table of word error rates, kinds of noise down, signal-to-noise ratios across."""
    rates = {(rung["noise"], rung["snr_db"]): rung["wer"] for rung in by_snr}
    kinds, ratios = ({key[place]: None for key in rates} for place in (0, 1))
    rows = ["noise   " + "".join(f"{f'{ratio:g} dB':>9}" for ratio in ratios)]
    rows += [
        f"{kind:<8}" + "".join(f"{rates[kind, ratio]:>9.2%}" for ratio in ratios) for kind in kinds
    ]
    return "\n".join(rows)


def save_ladder(by_snr: list[dict[str, Any]], clean_wer: float, path: Path) -> None:
    """Write a PNG of word error rate against signal-to-noise ratio, a line a kind of noise.

    Raises:
        InputError: matplotlib is not installed, or the file cannot be written.
    """
    figure = _new_figure((7, 4))
    axes = figure.subplots()
    for kind in dict.fromkeys(rung["noise"] for rung in by_snr):
        rungs = [rung for rung in by_snr if rung["noise"] == kind]
        ratios = [rung["snr_db"] for rung in rungs]
        axes.plot(ratios, [100 * rung["wer"] for rung in rungs], marker="o", label=kind)
    axes.axhline(100 * clean_wer, color="grey", linestyle=":", label="clean")
    axes.set(xlabel="signal-to-noise ratio, dB", ylabel="word error rate, %", ylim=(0, None))
    axes.invert_xaxis()
    axes.legend()
    _save(figure, path)


def save_picture(waveform: Tensor, title: str, path: Path) -> None:
    """Write a PNG of a (1, samples) waveform and its 28-band log-mel spectrogram.

    Raises:
        InputError: matplotlib is not installed, or the file cannot be written.
    """
    feature_FT = LogMel()(waveform)
    length_s = waveform.shape[-1] / SAMPLE_RATE
    figure = _new_figure((10, 5))
    top, bottom = figure.subplots(2, 1, sharex=True)
    top.plot(torch.arange(waveform.shape[-1]) / SAMPLE_RATE, waveform[0], linewidth=0.5)
    top.set(title=title, ylabel="amplitude")
    bottom.imshow(
        feature_FT,
        origin="lower",
        aspect="auto",
        extent=(0, min(length_s, feature_FT.shape[1] * HOP_S), 0, 28),
    )
    bottom.set(xlabel="seconds", ylabel="mel band")
    _save(figure, path)


def _new_figure(size: tuple[float, float]) -> Any:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise InputError("a picture needs matplotlib: pip install 'raytune-yesno[plot]'") from error
    return Figure(figsize=size, layout="constrained")


def _save(figure: Any, path: Path) -> None:
    try:
        figure.savefig(path, dpi=120)
    except (OSError, ValueError) as error:
        raise InputError(f"--picture {path}: cannot be written ({error})") from error
