"""Changes of a recording: rooms, microphones, codecs, levels, other sounds.

An effect is a function of a (samples,) float32 waveform at 8 kHz and a generator of random numbers.
Its result may have another length. Training must not use this module.
"""

import io
import math

import numpy as np
import soundfile
import torch
import torch.nn.functional as F
import torchaudio
from torch import Tensor

from raytune_yesno.tasks.speech.evaluation import wordless_sounds
from raytune_yesno.tasks.speech.noise import frame_power, mix
from raytune_yesno.tasks.speech.resampler import SAMPLE_RATE

_ROOM_SAMPLES = 2048  # 0.256 s of background, the source of the room noise's spectrum


def reverberate(waveform: Tensor, generator: torch.Generator, *, rt60_s: float) -> Tensor:
    """Add the reverberation of a room, with the speaker some metres from the microphone.

    The impulse response is the direct sound followed, after 5 ms, by Gaussian noise with twice its
    energy. The noise decays by 60 dB in ``rt60_s``, and twice as fast above 1.5 kHz (Polack, "La
    transmission de l'énergie sonore dans les salles", 1988). The energy of the recording is kept.
    """
    length = round(rt60_s * SAMPLE_RATE)
    time_S = torch.arange(length) / SAMPLE_RATE
    decay_S = torch.exp(-math.log(1000) * time_S / rt60_s)
    noise = torch.randn(length, generator=generator)
    low = wordless_sounds.band_pass(noise, 0.0, 1500.0, edge_hz=500.0)
    tail = low * decay_S + (noise - low) * decay_S.square()
    tail[:40] = 0.0
    response = tail * (2.0 / tail.square().sum()).sqrt()
    response[0] = 1.0
    wet = torchaudio.functional.fftconvolve(waveform, response)[: len(waveform)]
    return wet * (_rms(waveform) / _rms(wet).clamp(min=1e-9))


def add_sound(waveform: Tensor, generator: torch.Generator, *, sound: str, snr_db: float) -> Tensor:
    """Add a sound of :data:`~raytune_yesno.tasks.speech.evaluation.wordless_sounds.SOUNDS`."""
    return mix(waveform, wordless_sounds.SOUNDS[sound](len(waveform), generator), snr_db)


def add_clicks(waveform: Tensor, generator: torch.Generator, *, per_second: float) -> Tensor:
    """Add clicks whose highest peaks equal the peak of the recording."""
    clicks = wordless_sounds.draw_clicks(len(waveform), generator, per_second)
    return waveform + clicks * waveform.abs().max()


def clip(waveform: Tensor, generator: torch.Generator, *, below_peak_db: float) -> Tensor:
    """Clip at ``below_peak_db`` below the peak, then restore the peak."""
    gain = 10 ** (below_peak_db / 20)
    peak = float(waveform.abs().max())
    return (waveform * gain).clamp(-peak, peak)


def limit_band(
    waveform: Tensor, generator: torch.Generator, *, low_hz: float, high_hz: float
) -> Tensor:
    """Keep the frequencies between two limits; the edges are 100 Hz wide."""
    return wordless_sounds.band_pass(waveform, low_hz, high_hz)


def tilt(waveform: Tensor, generator: torch.Generator, *, db_per_octave: float) -> Tensor:
    """Raise or lower the level per octave above 200 Hz; the energy is kept."""
    hz_F = torch.fft.rfftfreq(len(waveform), 1 / SAMPLE_RATE).clamp(min=200.0)
    gain_F = 10 ** (db_per_octave * torch.log2(hz_F / 200.0) / 20)
    tilted = torch.fft.irfft(torch.fft.rfft(waveform) * gain_F, n=len(waveform))
    return tilted * (_rms(waveform) / _rms(tilted).clamp(min=1e-9))


def requantize(waveform: Tensor, generator: torch.Generator, *, bits: int) -> Tensor:
    """Round samples to a number of bits, relative to full scale."""
    steps = 2.0 ** (bits - 1)
    return (waveform * steps).round().clamp(-steps, steps - 1) / steps


def encode(waveform: Tensor, generator: torch.Generator, *, container: str, subtype: str) -> Tensor:
    """Encode with a codec of libsndfile, at its lowest quality if lossy, and decode."""
    file = io.BytesIO()
    lossy = {"compression_level": 0.99} if container in ("OGG", "MP3") else {}
    with soundfile.SoundFile(
        file, "w", SAMPLE_RATE, 1, subtype=subtype, format=container, **lossy
    ) as encoder:
        encoder.write(waveform.clamp(-1, 1).numpy())
    file.seek(0)
    samples, _ = soundfile.read(file, dtype="float32")
    return torch.from_numpy(np.ascontiguousarray(samples))


def change_speed(waveform: Tensor, generator: torch.Generator, *, percent: int) -> Tensor:
    """Play at another speed: pitch and length both change."""
    return torchaudio.functional.resample(waveform, percent, 100)


def change_tempo(waveform: Tensor, generator: torch.Generator, *, percent: float) -> Tensor:
    """Change the length but not the pitch, with a phase vocoder of 64 ms windows."""
    window = torch.hann_window(512)
    if len(waveform) < len(window):
        return waveform
    spectrum_FT = _transform(waveform, window, 128)
    advance_F1 = torch.linspace(0, math.pi * 128, 257)[:, None]
    changed_FT = torchaudio.functional.phase_vocoder(spectrum_FT, percent / 100, advance_F1)
    return torch.istft(changed_FT, 512, 128, window=window)


def change_level(waveform: Tensor, generator: torch.Generator, *, gain_db: float) -> Tensor:
    """Change the level, then round to 16 bits like a recorder."""
    return requantize(waveform * 10 ** (gain_db / 20), generator, bits=16)


def step_level(waveform: Tensor, generator: torch.Generator, *, gain_db: float) -> Tensor:
    """Change the level at the quietest moment near the middle.

    One part is lowered and none is raised: the second if ``gain_db`` is negative, else the first.
    """
    middle = find_gap(waveform)
    stepped = waveform.clone()
    quieter = stepped[middle:] if gain_db < 0 else stepped[:middle]
    quieter *= 10 ** (-abs(gain_db) / 20)
    return requantize(stepped, generator, bits=16)


def drop_packets(waveform: Tensor, generator: torch.Generator, *, percent: float) -> Tensor:
    """Replace a share of the 20 ms packets by zeros."""
    num_packets = -(-len(waveform) // 160)
    kept_S = (torch.rand(num_packets, generator=generator) >= percent / 100).repeat_interleave(160)
    return waveform * kept_S[: len(waveform)]


def pad(
    waveform: Tensor, generator: torch.Generator, *, seconds: float, noise_db: float | None = None
) -> Tensor:
    """Add digital silence, or white noise at ``noise_db`` (dB full scale), before and after."""
    length = round(seconds * SAMPLE_RATE)
    edges_2S = torch.zeros(2, length)
    if noise_db is not None:
        edges_2S = torch.randn(2, length, generator=generator) * 10 ** (noise_db / 20)
    return torch.cat([edges_2S[0], waveform, edges_2S[1]])


def insert_pause(
    waveform: Tensor, generator: torch.Generator, *, seconds: float, room: bool
) -> Tensor:
    """Insert a pause at the quietest moment near the middle of the recording.

    Args:
        waveform: (samples,).
        generator: source of randomness for the background.
        seconds: length of the pause.
        room: fill the pause with the recording's own background instead of digital silence.
    """
    middle = find_gap(waveform)
    length = round(seconds * SAMPLE_RATE)
    pause = draw_room(waveform, length, generator) if room else torch.zeros(length)
    return torch.cat([waveform[:middle], pause, waveform[middle:]])


def play_twice(waveform: Tensor, generator: torch.Generator, *, seconds: float) -> Tensor:
    """Repeat the recording after ``seconds`` of its own background."""
    room = draw_room(waveform, round(seconds * SAMPLE_RATE), generator)
    return torch.cat([waveform, room, waveform])


def find_gap(waveform: Tensor) -> int:
    """Return the sample in the middle half around which 0.14 s are quietest."""
    power_T = frame_power(waveform)
    if len(power_T) < 14:
        return len(waveform) // 2
    smooth_T = F.avg_pool1d(power_T[None], 7, stride=1, padding=3)[0]
    first, last = len(smooth_T) // 4, -(-3 * len(smooth_T) // 4)
    return (first + int(smooth_T[first:last].argmin())) * 160 + 80


def draw_room(waveform: Tensor, num_samples: int, generator: torch.Generator) -> Tensor:
    """Return (samples,) of noise with the level and spectrum of a recording's background.

    The background is the quietest 0.26 s. Pieces with its magnitude spectrum and random phases are
    overlapped by half and added, which gives noise that does not repeat.
    """
    if len(waveform) < _ROOM_SAMPLES:
        return torch.zeros(num_samples)
    pieces_NS = waveform.unfold(0, _ROOM_SAMPLES, 160)
    centred_NS = pieces_NS - pieces_NS.mean(1, keepdim=True)
    quietest = centred_NS[centred_NS.square().mean(1).argmin()]
    magnitude_F = torch.fft.rfft(quietest).abs()
    hop = _ROOM_SAMPLES // 2
    count = num_samples // hop + 2
    phase_NF = 2 * math.pi * torch.rand(count, len(magnitude_F), generator=generator)
    piece_NS = torch.fft.irfft(torch.polar(magnitude_F.expand(count, -1), phase_NF))
    window = torch.hann_window(_ROOM_SAMPLES).sqrt()  # power adds up to 1
    room = torch.zeros((count + 1) * hop)
    for number, piece in enumerate(piece_NS):
        room[number * hop : number * hop + _ROOM_SAMPLES] += window * piece
    return room[hop : hop + num_samples]


def shift_pitch(waveform: Tensor, generator: torch.Generator, *, semitones: float) -> Tensor:
    """Change pitch and formants but not the length: change the speed, then restore the tempo."""
    percent = round(100 * 2 ** (semitones / 12))
    changed = change_speed(waveform, generator, percent=percent)
    return change_tempo(changed, generator, percent=10000 / percent)


def flutter(waveform: Tensor, generator: torch.Generator, *, percent: float) -> Tensor:
    """Vary the speed around 100 % five times a second, like a worn tape."""
    if len(waveform) < 2:
        return waveform
    index_S = torch.arange(len(waveform), dtype=torch.float64)
    swing_s = percent / 100 / (2 * math.pi * 5)
    phase = 2 * math.pi * torch.rand((), generator=generator).item()
    index_S += swing_s * SAMPLE_RATE * torch.sin(2 * math.pi * 5 * index_S / SAMPLE_RATE + phase)
    index_S = index_S.clamp(0, len(waveform) - 1.001)
    left_S = index_S.long()
    return torch.lerp(waveform[left_S], waveform[left_S + 1], (index_S - left_S).float())


def add_echo(waveform: Tensor, generator: torch.Generator, *, seconds: float) -> Tensor:
    """Add one echo, 6 dB weaker."""
    delay = round(seconds * SAMPLE_RATE)
    return waveform + 0.5 * F.pad(waveform, (delay, 0))[: len(waveform)]


def fade(waveform: Tensor, generator: torch.Generator, *, per_second: float) -> Tensor:
    """Lower the level periodically by up to 20 dB, as over a poor radio link."""
    time_S = torch.arange(len(waveform)) / SAMPLE_RATE
    phase = 2 * math.pi * torch.rand((), generator=generator).item()
    depth_db_S = 10 * (1 - torch.cos(2 * math.pi * per_second * time_S + phase))
    return waveform * 10 ** (-depth_db_S / 20)


def control_gain(waveform: Tensor, generator: torch.Generator, *, most_db: float) -> Tensor:
    """Amplify every 0.3 s to the level of the loudest, by at most ``most_db``."""
    power_T = frame_power(waveform).float()
    if len(power_T) < 2:
        return waveform
    level_T = F.avg_pool1d(power_T[None], 15, 1, 7, count_include_pad=False)[0].sqrt()
    gain_T = (level_T.max() / level_T.clamp(min=1e-9)).clamp(max=10 ** (most_db / 20))
    gain_S = F.interpolate(gain_T[None, None], len(waveform), mode="linear")[0, 0]
    changed = waveform * gain_S
    return changed * (waveform.abs().max() / changed.abs().max().clamp(min=1e-9))


def denoise(waveform: Tensor, generator: torch.Generator, *, snr_db: float) -> Tensor:
    """Add white noise, then apply a noise gate per frequency, which leaves musical noise."""
    noisy = mix(waveform, torch.randn(len(waveform), generator=generator), snr_db)
    window = torch.hann_window(256)
    spectrum_FT = _transform(noisy, window, 64)
    magnitude_FT = spectrum_FT.abs()
    floor_F1 = magnitude_FT.quantile(0.3, dim=1, keepdim=True)
    gated_FT = spectrum_FT * (magnitude_FT > 2 * floor_F1)
    return torch.istft(gated_FT, 256, 64, window=window, length=len(waveform))


def add_offset(waveform: Tensor, generator: torch.Generator, *, offset: float) -> Tensor:
    """Add a constant."""
    return waveform + offset


def _transform(waveform: Tensor, window: Tensor, hop: int) -> Tensor:
    """Return the short-time Fourier transform; zero padding allows any length."""
    size = len(window)
    return torch.stft(waveform, size, hop, window=window, pad_mode="constant", return_complex=True)


def _rms(waveform: Tensor) -> Tensor:
    return waveform.square().mean().sqrt()
