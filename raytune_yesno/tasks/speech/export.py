"""Write a recogniser as one ONNX or TorchScript file that runs without this package.

The file computes features, network and normalisation: a waveform goes in, log-probabilities of
blank and the words come out, one row for every 80 ms, and the level of the sound there.

Axes in names: C classes, F mel bands, P window positions, T frames.
"""

import copy
import json
import logging
import math
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from raytune_yesno.errors import InputError, suggest_install
from raytune_yesno.files.atomic import replace_file
from raytune_yesno.tasks.speech.features import (
    FFT_SAMPLES,
    HOP_S,
    LEAST_POWER,
    NOISE_BIAS,
    NOISE_BLOCKS,
    NOISE_FLOOR,
    PEAK_FLOOR,
    QUIET_SHARE,
    find_levels,
    find_peak,
    pad_silence,
    position_time_s,
)
from raytune_yesno.tasks.speech.networks import STRIDE
from raytune_yesno.tasks.speech.recognizer import Recognizer
from raytune_yesno.tasks.speech.resampler import SAMPLE_RATE

BLANK = "<blank>"
MIN_SAMPLES = 640
"""Minimum length of an exported recogniser's input; pad shorter recordings with zeros."""
SUFFIXES = {"onnx": ".onnx", "torchscript": ".pt"}
_INPUT, _OUTPUTS = "waveform", ("log_probabilities", "levels")


class Listener(nn.Module):
    """Features and network in operations that every exporter knows.

    A short-time Fourier transform is a convolution with fixed weights. The result equals that of
    :class:`~raytune_yesno.tasks.speech.features.LogMel` and the network up to rounding.

    Args:
        recognizer: the recogniser to export.
    """

    dft: Tensor
    bands: Tensor
    columns: Tensor

    def __init__(self, recognizer: Recognizer) -> None:
        super().__init__()
        self.model, self._kind = recognizer.model, recognizer.extract.kind
        self._min_blocks = recognizer.extract.min_blocks
        window, bands = recognizer.extract.weights
        angle = 2 * math.pi / FFT_SAMPLES * torch.arange(FFT_SAMPLES, dtype=torch.float64)
        angle_BS = torch.arange(FFT_SAMPLES // 2 + 1, dtype=torch.float64)[:, None] * angle
        dft = torch.cat([angle_BS.cos(), -angle_BS.sin()]) * window.double()
        self.register_buffer("dft", dft[:, None].to(window.dtype))
        self.register_buffer("bands", bands.T.contiguous())
        self.register_buffer("columns", torch.arange(2 * NOISE_BLOCKS + 1))

    def forward(self, waveform: Tensor) -> tuple[Tensor, Tensor]:
        """Return (P, C) log-probabilities and (P,) levels of a (1, samples) waveform at 8 kHz."""
        mode = "constant" if self._kind == "local" else "reflect"
        half = FFT_SAMPLES // 2
        padded = F.pad(waveform[None].to(self.dft.dtype), (half, half), mode=mode)
        spectrum = F.conv1d(padded, self.dft, stride=round(HOP_S * SAMPLE_RATE))[0]
        real, imaginary = spectrum[: half + 1], spectrum[half + 1 :]
        power_FT = self.bands @ (real.square() + imaginary.square())
        if self._kind == "local":
            noise_FT = self._find_noise(power_FT)
            floor_FT = NOISE_FLOOR * noise_FT + PEAK_FLOOR * find_peak(power_FT) + LEAST_POWER
            feature_FT = torch.log((power_FT + floor_FT) / (NOISE_BIAS * noise_FT + floor_FT)) / 2
        else:
            log_FT = torch.log(power_FT + 1e-8)
            centred_FT = log_FT - log_FT.mean(dim=1, keepdim=True)
            feature_FT = centred_FT / (centred_FT.square().mean().sqrt() + 1e-3)
        feature_FT = pad_silence(feature_FT)
        return self.model(feature_FT[None, None])[0], find_levels(feature_FT)

    def _find_noise(self, power_FT: Tensor) -> Tensor:
        """Return the noise power, as :func:`~raytune_yesno.tasks.speech.features.find_noise`.

        No operation depends on whether the number of frames is a multiple of the stride.
        """
        whole_FT = F.pad(power_FT[None], (0, STRIDE - 1), mode="replicate")[0]
        block_FN = F.avg_pool1d(torch.log(whole_FT + LEAST_POWER)[None], STRIDE)[0]
        padded_FN = F.pad(block_FN, (NOISE_BLOCKS, NOISE_BLOCKS), value=math.inf)
        width = block_FN.shape[1]
        shifted = [padded_FN[:, k : k + width] for k in range(2 * NOISE_BLOCKS + 1)]
        sorted_FNW = torch.stack(shifted, 2).sort(dim=2).values
        known_N = sorted_FNW[0].isfinite().sum(1)
        quiet_N = torch.ceil(known_N.clamp(min=self._min_blocks) / QUIET_SHARE)
        silent_N = torch.minimum((self._min_blocks - known_N).clamp(min=0), quiet_N)
        loud_NW = self.columns >= (quiet_N - silent_N)[:, None]
        sum_FN = sorted_FNW.masked_fill(loud_NW, 0.0).sum(2) + silent_N * math.log(LEAST_POWER)
        noise_FN = sum_FN / quiet_N
        noise_FN = (noise_FN.exp() - LEAST_POWER).clamp(min=0)
        return noise_FN[:, torch.arange(power_FT.shape[1]) // STRIDE]


def choose_format(format: str | None, out: str | None) -> str:
    """Return the format of an exported file, ``onnx`` if neither argument tells.

    Args:
        format: one of the keys of :data:`SUFFIXES`, if it is asked for.
        out: the file, if it is named.

    Raises:
        InputError: the suffix of the file is that of another format.
    """
    by_suffix = {suffix: name for name, suffix in SUFFIXES.items()}
    named = by_suffix.get(Path(out or "").suffix.lower())
    if format and named and format != named:
        raise InputError(
            f"--format {format}: the suffix of {out} is that of {named}; change one of them"
        )
    return format or named or "onnx"


def describe_export(recognizer: Recognizer) -> dict[str, str]:
    """Return the texts that an exported file carries: what its input and its output mean."""
    return {
        "vocabulary": json.dumps([BLANK, *recognizer.vocabulary], ensure_ascii=False),
        "sample_rate": str(SAMPLE_RATE),
        "min_samples": str(MIN_SAMPLES),
        "first_position_s": f"{position_time_s(0):g}",
        "position_step_s": f"{STRIDE * HOP_S:g}",
        "calibration": json.dumps(recognizer.checkpoint.calibration),
        "corpus": recognizer.checkpoint.corpus.get("fingerprint", ""),
    }


def export(recognizer: Recognizer, format: str, out: Path) -> dict[str, str]:
    """Write a recogniser to a file, in float32 whatever the dtype of its training.

    Args:
        recognizer: the recogniser.
        format: one of the keys of :data:`SUFFIXES`.
        out: the file; an existing one is replaced.

    Returns:
        The texts in the file, see :func:`describe_export`.

    Raises:
        InputError: ``onnx`` needs a package that is not installed, or the file cannot be written.
    """
    if out.is_dir():
        raise InputError(f"{out}: a folder; name a file in it")
    writers: dict[str, Callable[[Listener, dict[str, str], Path], None]]
    writers = {"onnx": _write_onnx, "torchscript": _write_torchscript}
    about = describe_export(recognizer)
    try:
        with warnings.catch_warnings(), torch.no_grad(), replace_file(out) as part:
            warnings.simplefilter("ignore")  # about TorchScript's age and constant comparisons
            listener = copy.deepcopy(Listener(recognizer)).float()  # not the recogniser's weights
            writers[format](listener.eval(), about, part)
    except OSError as error:
        raise InputError(f"{out}: cannot be written: {error.strerror or error}") from error
    return about


def _example() -> Tensor:
    return torch.linspace(-0.1, 0.1, 2 * SAMPLE_RATE + 123)[None]


def _write_onnx(listener: Listener, about: dict[str, str], path: Path) -> None:
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401, torch's exporter needs both
    except ImportError as error:
        raise InputError(
            f"--format onnx needs onnx and onnxscript: {suggest_install('export')}; or "
            "give --format torchscript"
        ) from error
    logging.disable(logging.WARNING)  # about packages that the recogniser does not need
    try:
        program = torch.onnx.export(
            listener,
            (_example(),),
            dynamo=True,
            dynamic_shapes=({1: torch.export.Dim.DYNAMIC},),
            input_names=[_INPUT],
            output_names=[*_OUTPUTS],
            verbose=False,
        )
    finally:
        logging.disable(logging.NOTSET)
    assert program is not None
    program.model.metadata_props.update(about)
    path.write_bytes(program.model_proto.SerializeToString())


def _write_torchscript(listener: Listener, about: dict[str, str], path: Path) -> None:
    traced = torch.jit.trace(listener, (_example(),), check_trace=False)
    with path.open("wb") as file:  # torch, given a path, raises an error without the reason
        torch.jit.save(traced, file, _extra_files={"about.json": json.dumps(about).encode()})
