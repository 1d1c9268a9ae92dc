"""`evaluate` and `predict`: what a checkpoint's model reads."""

import sys
from argparse import Namespace
from pathlib import Path
from typing import Any, TextIO

from raytune_yesno.commands.common import say
from raytune_yesno.commands.display import Display


def evaluate(options: Namespace, results: TextIO) -> dict[str, Any]:
    """Read a part of a corpus with a checkpoint's model, and count what goes wrong."""
    from raytune_yesno.commands.plots import format_evaluation, save_evaluation
    from raytune_yesno.tasks.speech import evaluation
    from raytune_yesno.tasks.speech.load import load_corpus
    from raytune_yesno.tasks.speech.recognizer import Recognizer

    conditions = evaluation.select_conditions(options.conditions)
    recognizer = Recognizer.load(options.checkpoint, options.min_confidence)
    corpus = load_corpus(options.data, skip_bad=options.skip_bad, progress=Display().show_bytes)
    threshold = recognizer.min_confidence
    readings = evaluation.read_part(recognizer, corpus, options.split)
    figures = evaluation.summarize(readings, threshold)
    say(
        options,
        results,
        f"word error rate {figures['wer']:.2%} on {figures['words']} words, part {options.split!r} "
        f"of {corpus.source}: {figures['substitutions']} substitutions, "
        f"{figures['insertions']} insertions, {figures['deletions']} deletions",
    )
    display = Display()
    changed = evaluation.measure_conditions(
        recognizer, corpus, options.split, conditions, display.show_count
    )
    everything = [*readings, *(reading for result in changed for reading in result.readings)]
    result = {
        **figures,
        "by_snr": evaluation.describe_noise(changed, threshold),
        "conditions": evaluation.describe_conditions(changed, threshold),
        "groups": evaluation.describe_groups(changed, threshold),
        "calibration": evaluation.measure_calibration(everything),
        "rejection": evaluation.measure_rejection(readings, threshold),
        "cost": evaluation.measure_cost(recognizer),
        "split": options.split,
        "corpus": {"source": corpus.source, "fingerprint": corpus.fingerprint},
    }
    if options.wordless:
        result["wordless"] = evaluation.measure_wordless(
            recognizer, options.wordless, display.show_count
        )
    display.close()
    say(options, results, format_evaluation(result))
    if options.picture:
        save_evaluation(result, Path(options.picture))
    return result


def predict(options: Namespace, results: TextIO) -> dict[str, Any]:
    """Read recordings with a checkpoint's model."""
    import torch

    from raytune_yesno.tasks.speech.recognizer import Recognizer
    from raytune_yesno.tasks.speech.recording import read_recording

    recognizer = Recognizer.load(options.checkpoint)
    files = []
    for path in options.files:
        samples = read_recording(sys.stdin.buffer if path == "-" else path)
        words = recognizer.transcribe(torch.from_numpy(samples))
        heard = " ".join(word.word for word in words) or "(nothing)"
        say(options, results, f"{path}: {heard}" if len(options.files) > 1 else heard)
        for word in words:
            say(
                options,
                results,
                f"  {word.start_s:6.2f} s  {word.end_s:6.2f} s  {word.word:<3}  "
                f"{word.confidence:.3f}",
            )
        name = path if path == "-" else str(Path(path).absolute())
        files.append({"path": name, "words": [word.as_dict() for word in words]})
    return {"files": files}
