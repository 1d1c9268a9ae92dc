"""Plots of recordings and evaluations: text for a terminal, PNG files."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from raytune_yesno.errors import InputError, one_line, suggest_install
from raytune_yesno.tasks.speech.features import HOP_S, LogMel
from raytune_yesno.tasks.speech.resampler import SAMPLE_RATE

_EIGHTHS = " ▁▂▃▄▅▆▇█"
_MAX_WORDS = 10  # in the list of words with errors
_SHADES = " ░▒▓█"


def draw_text(waveform: Tensor, width: int = 76) -> str:
    """Draw the envelope of a (1, samples) waveform above its 28-band log-mel spectrogram, in text.

    Args:
        waveform: samples at :data:`SAMPLE_RATE`.
        width: columns of the plot.
    """
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


_ALL = "all of these"


def format_evaluation(figures: Mapping[str, Any]) -> str:
    """Return the figures of ``evaluate`` as a table by condition and further lines."""
    rows = [f"95 % interval {_percent_range(figures['wer_interval'])}", *_format_words(figures)]
    groups, conditions = figures["groups"], figures["conditions"]
    kind = max((len(row["kind"]) for row in conditions), default=0)
    names = [f"{row['kind']:<{kind}}  {row['setting']}" for row in conditions]
    width = max(map(len, [*names, _ALL]))
    for group in groups:
        members = [index for index, row in enumerate(conditions) if row["group"] == group]
        rows += ["", _describe_group(group, conditions[members[0]]["related"])]
        rows += [f"  {names[k]:<{width}}{_describe_rate(conditions[k])}" for k in members]
        rows.append(f"  {_ALL:<{width}}{_describe_rate(groups[group])}")
    if wordless := figures.get("wordless"):
        rows += ["", f"false alarms per hour without speech, {wordless['hours']:.2g} h of sound"]
        for row in (*wordless["sounds"], {"sound": _ALL, **wordless}):
            low, high = row["per_hour_interval"]
            rows.append(
                f"  {row['sound']:<{width}}{row['per_hour']:>8.1f}  {low:>6.1f} to {high:.1f}"
            )
    calibration, rejection, cost = (figures[k] for k in ("calibration", "rejection", "cost"))
    low, high = calibration["ece_interval"]
    rows += [
        "",
        f"confidence: expected calibration error {calibration['ece']:.3f}, 95 % interval {low:.3f} "
        f"to {high:.3f}, over {calibration['words']} recognised words of all conditions",
        f"threshold {rejection['min_confidence']:g}: on the unchanged part it rejects "
        f"{rejection['right']} correct and {rejection['wrong']} wrong words",
        f"cost: {cost['parameters']:,} parameters, "
        f"{cost['multiply_adds_per_s'] / 1e6:.1f} million multiply-adds per second of sound, "
        f"real-time factor {cost['real_time_factor']:.4f} on one core",
    ]
    return "\n".join(rows)


def _format_words(figures: Mapping[str, Any]) -> list[str]:
    """Return lines about the words that were recognised least reliably."""
    spoken = [row for row in figures["by_word"] if row["spoken"]]
    wrong = [row for row in spoken if row["right"] < row["spoken"]]
    wrong.sort(key=lambda row: row["right"] / row["spoken"])
    lines = [f"words recognised without an error: {len(spoken) - len(wrong)} of {len(spoken)}"]
    for row in wrong[:_MAX_WORDS]:
        rate = row["right"] / row["spoken"]
        lines.append(f"  {one_line(row['word']):<27} {rate:>8.2%}  {row['right']}/{row['spoken']}")
    return lines


def save_evaluation(figures: Mapping[str, Any], path: Path) -> None:
    """Write a PNG of word error rates with their intervals: noise by ratio, and other conditions.

    Raises:
        InputError: matplotlib is not installed, or the file cannot be written.
    """
    conditions = figures["conditions"]
    others = [row for row in conditions if row["group"] != "noise"]
    figure = _new_figure((12, 4 + 0.14 * len(others)))
    left, right = figure.subplots(1, 2)
    noisy: dict[str, list[Mapping[str, Any]]] = {}
    for row in conditions:
        if row["group"] == "noise":
            noisy.setdefault(row["kind"], []).append(row)
    for kind, rows in noisy.items():
        ratios = [float(row["setting"].removesuffix(" dB")) for row in rows]
        rates, bars = _error_bars(rows)
        left.errorbar(ratios, rates, bars, marker="o", capsize=3, label=kind)
    left.axhline(100 * figures["wer"], color="grey", linestyle=":", label="clean")
    left.set(xlabel="signal-to-noise ratio, dB", ylabel="word error rate, %", ylim=(0, None))
    left.invert_xaxis()
    left.legend()
    for group, colour in (("similar", "tab:blue"), ("unseen", "tab:orange")):
        rows = [row for row in others if row["group"] == group]
        if rows:
            rows_on_axis = [others.index(row) for row in rows]
            rates, bars = _error_bars(rows)
            label = _describe_group(group, rows[0]["related"])
            right.errorbar(
                rates, rows_on_axis, xerr=bars, fmt="o", color=colour, capsize=2, label=label
            )
    if others:
        names = [f"{row['kind']} {row['setting']}" for row in others]
        right.set_yticks(range(len(others)), names, fontsize=7)
        right.invert_yaxis()
        right.legend(fontsize=7)
    right.set(xlabel="word error rate, %", xlim=(-1.5, None))
    _save(figure, path)


def _describe_group(group: str, settings: Sequence[str]) -> str:
    used = ", ".join(settings)
    if group == "noise":
        return f"noise, used in training or validation ({used})" if used else "noise"
    if group == "similar":
        return f"similar effects in training ({used}), with other generators"
    return "not seen in training"


def _describe_rate(row: Mapping[str, Any]) -> str:
    return f"{row['wer']:>8.2%}  {_percent_range(row['wer_interval'])}"


def _percent_range(interval: Sequence[float]) -> str:
    low, high = interval
    return f"{100 * low:>6.2f} to {high:.2%}"


def _error_bars(rows: Sequence[Mapping[str, Any]]) -> tuple[list[float], list[list[float]]]:
    """Return rates and, for matplotlib, the distances to their interval bounds; in %."""
    rates = [100 * row["wer"] for row in rows]
    lows = [max(0.0, 100 * (row["wer"] - row["wer_interval"][0])) for row in rows]
    highs = [max(0.0, 100 * (row["wer_interval"][1] - row["wer"])) for row in rows]
    return rates, [lows, highs]


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
        raise InputError(f"--picture needs matplotlib: {suggest_install('plot')}") from error
    return Figure(figsize=size, layout="constrained")


def _save(figure: Any, path: Path) -> None:
    try:
        figure.savefig(path, dpi=120)
    except (OSError, ValueError) as error:
        raise InputError(f"--picture {path}: cannot be written ({error})") from error
