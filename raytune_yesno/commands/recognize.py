"""`evaluate` and `predict`: what a checkpoint's model reads."""

import sys
from argparse import Namespace
from pathlib import Path
from typing import Any, TextIO

from raytune_yesno.commands.common import note, say
from raytune_yesno.commands.display import Display
from raytune_yesno.errors import InputError, one_line


def evaluate(options: Namespace, results: TextIO) -> dict[str, Any]:
    """Read a part of a corpus with a checkpoint's model and count the word errors."""
    from raytune_yesno.commands.plots import format_ladder, save_ladder
    from raytune_yesno.tasks.speech.load import describe_source, find_corpus, load_corpus
    from raytune_yesno.tasks.speech.recognizer import Recognizer, climb_ladder
    from raytune_yesno.tasks.speech.recognizer import evaluate as evaluate_recognizer

    recognizer = Recognizer.load(options.checkpoint)
    trained_on = recognizer.checkpoint.corpus
    data = options.data or find_corpus(trained_on)
    corpus = load_corpus(data, skip_bad=options.skip_bad, progress=Display().show_bytes)
    if corpus.fingerprint != trained_on.get("fingerprint"):
        note(
            one_line(
                f"warning: the checkpoint was trained on {describe_source(trained_on)}, and this "
                f"is {describe_source(vars(corpus))}: its part {options.split!r} may hold "
                "recordings of that training"
            )
        )
    figures = evaluate_recognizer(recognizer, corpus, options.split)
    say(
        options,
        results,
        f"word error rate {figures['wer']:.2%} on {figures['words']} words, part {options.split!r} "
        f"of {one_line(corpus.source)}: {figures['substitutions']} substitutions, "
        f"{figures['insertions']} insertions, {figures['deletions']} deletions",
    )
    display = Display()
    by_snr = climb_ladder(recognizer, corpus, options.split, display.show_count)
    display.close()
    say(options, results, "\n" + format_ladder(by_snr))
    if options.picture:
        save_ladder(by_snr, figures["wer"], Path(options.picture))
    return {
        **figures,
        "by_snr": by_snr,
        "split": options.split,
        "corpus": {"source": corpus.source, "fingerprint": corpus.fingerprint},
        "trained_on": trained_on,
    }


def predict(options: Namespace, results: TextIO) -> dict[str, Any]:
    """Read recordings with a checkpoint's model.

    A recording that cannot be read is reported, the others are read, and the exit code is 1.

    Raises:
        InputError: the only recording could not be read.
    """
    import torch

    from raytune_yesno.tasks.speech.recognizer import Recognizer
    from raytune_yesno.tasks.speech.recording import read_recording

    recognizer = Recognizer.load(options.checkpoint)
    files: list[dict[str, Any]] = []
    problems: list[str] = []
    for path in options.files:
        name = path if path == "-" else str(Path(path).absolute())
        try:
            samples = read_recording(sys.stdin.buffer if path == "-" else path)
        except InputError as error:
            problems.append(str(error))
            files.append({"path": name, "words": [], "error": str(error)})
            if len(options.files) > 1:
                note(f"raytune-yesno: {error}")
            continue
        words = recognizer.transcribe(torch.from_numpy(samples))
        heard = " ".join(word.word for word in words) or "(nothing)"
        say(options, results, f"{one_line(path)}: {heard}" if len(options.files) > 1 else heard)
        for word in words:
            say(
                options,
                results,
                f"  {word.start_s:6.2f} s  {word.end_s:6.2f} s  {word.word:<3}  "
                f"{word.confidence:.3f}",
            )
        files.append({"path": name, "words": [word.as_dict() for word in words]})
    if len(options.files) == len(problems) == 1:
        raise InputError(problems[0])
    return {"files": files, **({"exit_code": 1} if problems else {})}
