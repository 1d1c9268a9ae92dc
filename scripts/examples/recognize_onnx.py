"""Recognise words with an exported model: python recognize_onnx.py MODEL.onnx RECORDING.wav…

Needs numpy, soundfile and onnxruntime, not this project. Recordings must have the model's rate.
"""

import json
import sys

import numpy as np
import onnxruntime
import soundfile

if len(sys.argv) < 3:
    sys.exit(__doc__)
model, *files = sys.argv[1:]
session = onnxruntime.InferenceSession(model)
about = session.get_modelmeta().custom_metadata_map
words = json.loads(about["vocabulary"])  # the first one is blank
calibration = json.loads(about["calibration"]) or {"slope": 1, "offset": 0, "threshold": 0}
reach = int(calibration.get("reach", 0))  # positions around a word that its score depends on
weight = calibration.get("level_weight", 0.0)  # of the level in a word's log-odds
share = calibration.get("weak_share", 0.0)  # of blank's probability that a weak word has
for file in files:
    samples, rate = soundfile.read(file, dtype="float32", always_2d=True)
    if rate != int(about["sample_rate"]):
        sys.exit(f"{file}: {rate} Hz; resample it to {about['sample_rate']} Hz")
    waveform = samples.mean(axis=1)[None]
    waveform = np.pad(waveform, ((0, 0), (0, max(0, int(about["min_samples"]) - samples.shape[0]))))
    logp, levels = session.run(None, {"waveform": waveform})
    best = logp.argmax(axis=1)
    around = np.lib.stride_tricks.sliding_window_view(np.pad(best > 0, 3), 7)  # 3 on each side
    best[
        (np.exp(logp[:, 1:].max(axis=1) - logp[:, 0]) >= (share or 2))
        & (best == 0)
        & ~around.any(axis=1)
    ] = -1
    begins = np.flatnonzero(np.diff(best, prepend=-2))  # of runs of one class
    heard = []
    for begin, end in zip(begins, [*begins[1:], len(best)], strict=True):
        weak = best[begin] < 0  # the word of most probability
        word = 1 + np.exp(logp[begin:end, 1:]).sum(axis=0).argmax() if weak else best[begin]
        p = np.exp(logp[max(0, begin - reach) : end + reach, word], dtype=np.float64)
        odds = p.sum() ** 4 * np.exp(-weight * levels[begin:end].max())
        score = odds / (1 + odds) if reach else p.mean()
        score = np.clip(score, 1e-9, 1 - 1e-9)
        odds = np.clip(np.log(score / (1 - score)), -9, 9)
        confidence = 1 / (1 + np.exp(-(calibration["slope"] * odds + calibration["offset"])))
        if word and confidence >= calibration["threshold"]:
            heard.append(words[word])
    print(f"{file}: {' '.join(heard) or '(nothing)'}" if len(files) > 1 else " ".join(heard))
