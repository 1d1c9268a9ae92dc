"""Spoken digits: a table of the Free Spoken Digit Dataset, a model, and its accuracy by digit.

    python scripts/examples/spoken_digits.py FSDD OUT [KEY=VALUE …]

FSDD is a copy of https://github.com/Jakobovski/free-spoken-digit-dataset, whose recordings are
named {digit}_{speaker}_{take}.wav. Takes 0 to 4 are the official test part. OUT gets the table and
the checkpoint; the table is a corpus of its own: `raytune-yesno tune --data OUT`. Give
`split_by=speaker test_speakers=theo` to test on a voice that training does not hear.

The last line is of connected digits: those of a speaker, five in a row, 0.2 to 0.5 s apart.
"""

import sys
from pathlib import Path

import numpy as np
import torch

from raytune_yesno.config import build_config
from raytune_yesno.tasks.speech.corpus import Corpus
from raytune_yesno.tasks.speech.evaluation import Reading, describe_words, read_part, summarize
from raytune_yesno.tasks.speech.load import load_corpus
from raytune_yesno.tasks.speech.recognizer import Recognizer, select_part
from raytune_yesno.training.loop import fit

DIGITS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]


def write_table(recordings: Path, out: Path) -> None:
    """Write OUT/transcripts.tsv."""
    rows = ["path\twords\tspeaker\tsplit"]
    for file in sorted(recordings.rglob("*_*_*.wav")):
        digit, speaker, take = file.stem.split("_")
        part = "test" if int(take) < 5 else "train"
        rows.append(f"{file.absolute()}\t{DIGITS[int(digit)]}\t{speaker}\t{part}")
    out.mkdir(parents=True, exist_ok=True)
    (out / "transcripts.tsv").write_text("\n".join(rows) + "\n", encoding="utf-8")


def read_strings(recognizer: Recognizer, corpus: Corpus, length: int = 5) -> list[Reading]:
    """Recognise the test part joined to strings of one speaker each, with pauses of silence."""
    random, readings = np.random.default_rng(0), list[Reading]()
    part = select_part(recognizer.checkpoint, corpus, "test")
    for speaker in sorted({corpus.speakers[n] for n in part}):
        order = random.permutation([n for n in part if corpus.speakers[n] == speaker])
        whole = len(order) // length * length
        for string in order[:whole].reshape(-1, length).tolist():
            pieces = list[np.ndarray]()
            for n in string:
                pieces += [corpus.waveform(n), np.zeros(random.integers(1600, 4000), np.float32)]
            heard = recognizer.listen(torch.from_numpy(np.concatenate(pieces[:-1])))
            readings.append(Reading(tuple(corpus.labels[n][0] for n in string), tuple(heard)))
    return readings


def main(recordings: str, out: str, *settings: str) -> None:
    write_table(Path(recordings), Path(out))
    corpus = load_corpus(out)
    config = build_config(dict(setting.split("=", 1) for setting in settings))
    for record in fit(config, corpus, refit=True):  # on training and validation parts
        print({name: round(value, 4) for name, value in record.metrics.items()}, flush=True)
    record.save(Path(out, "checkpoint"))
    recognizer = Recognizer.load(Path(out, "checkpoint"))
    readings = read_part(recognizer, corpus, "test")
    for row in describe_words(readings, recognizer.min_confidence, corpus.vocabulary):
        print(f"{row['word']:<6} {row['right']} of {row['spoken']}")
    strings = read_strings(recognizer, corpus)
    for name, found in (("word error rate", readings), ("of connected digits", strings)):
        print(f"{name} {summarize(found, recognizer.min_confidence)['wer']:.2%}")


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
