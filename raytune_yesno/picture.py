"""Pictures of a recording: in text for a terminal, as a PNG for a page."""

from pathlib import Path

import torch
from torch import Tensor

from raytune_yesno.corpus import SAMPLE_RATE
from raytune_yesno.errors import InputError
from raytune_yesno.features import HOP_S, LogMel

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


def save_picture(waveform: Tensor, title: str, path: Path) -> None:
    """Write a PNG of a (1, samples) waveform and its 28-band log-mel spectrogram.

    Raises:
        InputError: matplotlib is not installed, or the file cannot be written.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise InputError("a picture needs matplotlib: pip install 'raytune-yesno[plot]'") from error
    feature_FT = LogMel()(waveform)
    length_s = waveform.shape[-1] / SAMPLE_RATE
    figure = Figure(figsize=(10, 5), layout="constrained")
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
    try:
        figure.savefig(path, dpi=120)
    except (OSError, ValueError) as error:
        raise InputError(f"--picture {path}: cannot be written ({error})") from error
