"""Spoken digits: a table of the Free Spoken Digit Dataset, a model, and its accuracy by digit.

    python scripts/examples/spoken_digits.py FSDD OUT

FSDD is a copy of https://github.com/Jakobovski/free-spoken-digit-dataset, whose recordings are
named {digit}_{speaker}_{take}.wav. Takes 0 to 4 are the official test part. OUT gets the table and
the checkpoint; the table is a corpus of its own: `raytune-yesno tune --data OUT`.
"""

import sys
from pathlib import Path

from raytune_yesno.config import build_config
from raytune_yesno.tasks.speech.evaluation import describe_words, read_part, summarize
from raytune_yesno.tasks.speech.load import load_corpus
from raytune_yesno.tasks.speech.recognizer import Recognizer
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


def main(recordings: str, out: str, *settings: str) -> None:
    write_table(Path(recordings), Path(out))
    corpus = load_corpus(out)
    config = build_config(dict(setting.split("=", 1) for setting in settings))
    for record in fit(config, corpus):
        print({name: round(value, 4) for name, value in record.metrics.items()}, flush=True)
    record.save(Path(out, "checkpoint"))
    recognizer = Recognizer.load(Path(out, "checkpoint"))
    readings = read_part(recognizer, corpus, "test")
    for row in describe_words(readings, recognizer.min_confidence, corpus.vocabulary):
        print(f"{row['word']:<6} {row['right']} of {row['spoken']}")
    print(f"word error rate {summarize(readings, recognizer.min_confidence)['wer']:.2%}")


if __name__ == "__main__":
    main(*sys.argv[1:])
