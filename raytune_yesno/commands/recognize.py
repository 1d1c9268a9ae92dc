"""The commands ``evaluate``, ``predict`` and ``export``."""

import sys
from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from raytune_yesno.commands.common import note
from raytune_yesno.commands.display import Display, Printer, describe
from raytune_yesno.commands.settings import DEFAULT_DATA, check_task, refuse_data, refuse_flags
from raytune_yesno.errors import InputError, Interrupted, UnfinishedError, one_line
from raytune_yesno.text import plural

if TYPE_CHECKING:
    from raytune_yesno.tasks.speech.corpus import Corpus
    from raytune_yesno.tasks.speech.recognizer import Recognizer, TimedWord


def evaluate(options: Namespace, say: Printer) -> dict[str, Any]:
    """Measure the error rates of a checkpoint's model on a part of a corpus.

    With ``--task``, measure what the user's own task measures.
    """
    if options.task:
        return _evaluate_task(options, say)
    from raytune_yesno.commands.plots import format_evaluation, save_evaluation
    from raytune_yesno.tasks.speech import evaluation
    from raytune_yesno.tasks.speech.recognizer import Recognizer, find_split

    part = options.split or "test"
    asked = "all" if options.conditions is None else options.conditions
    wordless_s = 60.0 if options.wordless is None else options.wordless
    conditions = evaluation.select_conditions(asked)
    recognizer = Recognizer.load(options.checkpoint, options.min_confidence)
    trained_on = recognizer.checkpoint.corpus
    skip_bad = _skips_bad(options, trained_on)
    corpus = _load_corpus(options.data, trained_on, part, skip_bad=skip_bad)
    threshold = recognizer.min_confidence
    corpus = corpus.relabel(recognizer.vocabulary)
    readings = evaluation.read_part(recognizer, corpus, part)
    figures = evaluation.summarize(readings, threshold)
    split_by = None if part == "all" else find_split(recognizer.checkpoint, corpus)
    found = f" (split by {split_by})" if split_by else ""
    say(
        f"word error rate {figures['wer']:.2%} on {plural(figures['words'], 'word')}, "
        f"part {part!r} of {one_line(corpus.source)}{found}: "
        f"{figures['substitutions']} substitutions, {figures['insertions']} insertions, "
        f"{figures['deletions']} deletions",
    )
    display = Display()
    changed = evaluation.measure_conditions(
        recognizer,
        corpus,
        part,
        conditions,
        lambda done, total: display.show_count(done, total, "conditions"),
    )
    everything = [*readings, *(reading for result in changed for reading in result.readings)]
    result = {
        **figures,
        "by_snr": evaluation.describe_noise(changed, threshold),
        "conditions": evaluation.describe_conditions(changed, threshold),
        "groups": evaluation.describe_groups(changed, threshold),
        "calibration": evaluation.measure_calibration(everything),
        "by_word": evaluation.describe_words(readings, threshold, corpus.vocabulary),
        "rejection": evaluation.measure_rejection(readings, threshold),
        "cost": evaluation.measure_cost(recognizer),
        "split": part,
        "split_by": split_by,
        "corpus": {"source": corpus.source, "fingerprint": corpus.fingerprint},
        "trained_on": trained_on,
    }
    if wordless_s:
        result["wordless"] = evaluation.measure_wordless(
            recognizer,
            wordless_s,
            lambda done, total: display.show_count(done, total, "sounds without words"),
        )
    display.close()
    say(format_evaluation(result))
    if options.picture:
        save_evaluation(result, Path(options.picture))
    return result


def _evaluate_task(options: Namespace, say: Printer) -> dict[str, Any]:
    """Evaluate a checkpoint of a task of the user's own."""
    from raytune_yesno.checkpoint import load_checkpoint, read_task
    from raytune_yesno.config import find_task
    from raytune_yesno.files.remote import local_copy
    from raytune_yesno.task_registry import TASKS
    from raytune_yesno.tasks.task import check_same_data, describe_data, load_data
    from raytune_yesno.training.evaluate import evaluate_checkpoint
    from raytune_yesno.user_code import stopped_by_errors

    only = ("split", "conditions", "wordless", "min_confidence", "picture")
    refuse_flags(options, *only, because="--task measures what the task itself does")
    TASKS.trust(options.task)
    with local_copy(options.checkpoint) as folder:
        task = read_task(folder)
        check_task(options.task, task, options.checkpoint)
        if find_task(options.task).function:
            raise InputError(
                f"{options.checkpoint}: {task} is a function, which has no evaluation beside its "
                "metrics; those of each epoch are in the record of its run or study"
            )
        checkpoint = load_checkpoint(folder)
    trained_on = checkpoint.corpus
    source = options.data or trained_on.get("data", DEFAULT_DATA)
    refuse_data(options, options.task)
    try:
        data = load_data(checkpoint.config, source, skip_bad=_skips_bad(options, trained_on))
    except UnfinishedError as error:
        if options.data:
            raise
        line, *lines = error.args
        raise UnfinishedError(f"{line}; give other data with --data", *lines) from error
    with stopped_by_errors("the evaluation failed"):
        try:
            check_same_data(data, trained_on, f"warning: {options.checkpoint}")
        except InputError as error:
            note(str(error))
        found = evaluate_checkpoint(checkpoint, data)
    name = {"test": "test part", "valid": "validation part"}[found.part]
    trained = ", which the model was also trained on" * (checkpoint.refit and found.part == "valid")
    figures = found.said or describe(found.figures, checkpoint.config.objective)
    say(f"{figures} ({name}{trained})")
    return {
        "metrics": found.figures,
        "split": found.part,
        "corpus": describe_data(data),
        "trained_on": trained_on,
    }


def _skips_bad(options: Namespace, trained_on: Mapping[str, Any]) -> bool:
    """Return whether to leave out bad recordings: if asked to, or of the corpus of the training."""
    from raytune_yesno.tasks.task import left_out_bad

    return bool(options.skip_bad or (not options.data and left_out_bad(trained_on)))


def _load_corpus(
    data: str | None, trained_on: Mapping[str, str], part: str, *, skip_bad: bool
) -> "Corpus":
    """Return a corpus, that of the training by default; warn if it is another one or has changed.

    Raises:
        InputError: the corpus is not on this machine, or recordings are bad.
    """
    from raytune_yesno.tasks.speech.load import find_corpus, load_corpus
    from raytune_yesno.tasks.task import describe_change

    data = data or find_corpus(trained_on)
    corpus = load_corpus(data, skip_bad=skip_bad, progress=Display().show_bytes)
    if corpus.fingerprint != trained_on.get("fingerprint"):
        note(
            one_line(
                f"warning: the checkpoint was {describe_change(corpus, trained_on)}: part {part!r} "
                "may contain training recordings"
            )
        )
    return corpus


def predict(options: Namespace, say: Printer) -> dict[str, Any]:
    """Recognise the words of recordings of any length, with bounded memory.

    If one of several recordings cannot be read, the error is printed, the others are processed, and
    the exit code is 1. With ``--stream``, a signal ends the recording: its last words are printed.

    Raises:
        InputError: no recording is given, the only one cannot be read, or the model cannot process
            a stream.
    """
    from raytune_yesno.tasks.speech.recognizer import Recognizer

    if bool(options.files) == options.sample:
        raise InputError("predict: give recordings (WAV …), or --sample for one of the test part")
    if options.sample:
        refuse_flags(options, "raw", "stream", because="--sample is a recording of the corpus")
    recognizer = Recognizer.load(options.checkpoint, options.min_confidence)
    if options.stream and not recognizer.can_stream:
        raise InputError(
            f"--stream: the features of {options.checkpoint} depend on the whole recording; omit "
            "--stream, or train a new checkpoint with features=local"
        )
    if options.sample:
        return _predict_sample(recognizer, say)
    files: list[dict[str, Any]] = []
    for path in options.files:
        file, stopped = _predict_file(recognizer, path, options, say)
        files.append(file)
        if stopped:
            note("stopped")
            return {"files": files, "exit_code": 128 + stopped.signum}
    problems = [file["error"] for file in files if "error" in file]
    if len(options.files) == len(problems) == 1:
        raise InputError(problems[0])
    return {"files": files, **({"exit_code": 1} if problems else {})}


def _predict_file(
    recognizer: "Recognizer", path: str, options: Namespace, say: Printer
) -> tuple[dict[str, Any], Interrupted | None]:
    """Recognise the words of one recording; return its JSON object, and what ended its stream."""
    several = len(options.files) > 1
    file: dict[str, Any] = {"path": path if path == "-" else str(Path(path).absolute())}
    words: list[TimedWord] = []
    stopped = None
    if options.stream and several:
        say(f"{one_line(path)}:")
    try:
        for word in _read_words(recognizer, path, options):
            words.append(word)
            if options.stream:
                say(_describe_word(word))
    except Interrupted as error:
        if not options.stream:
            raise
        stopped = error
    except InputError as error:
        file["error"] = str(error)
        if several:
            note(f"raytune-yesno: {error}")
    if "error" not in file and not options.stream:
        lines = _describe_words(words)
        if several:
            lines[0] = f"{one_line(path)}: {lines[0]}"
        say("\n".join(lines))
    return {**file, "words": [word.as_dict() for word in words]}, stopped


def _predict_sample(recognizer: "Recognizer", say: Printer) -> dict[str, Any]:
    """Recognise the first recording in the test part of the checkpoint's corpus.

    Raises:
        InputError: the corpus is not on this machine.
    """
    import torch

    from raytune_yesno.tasks.speech.recognizer import select_part
    from raytune_yesno.tasks.task import left_out_bad

    trained_on = recognizer.checkpoint.corpus
    corpus = _load_corpus(None, trained_on, "test", skip_bad=left_out_bad(trained_on))
    index = select_part(recognizer.checkpoint, corpus, "test")[0]
    name, spoken = corpus.names[index], corpus.words_of(index)
    words = recognizer.transcribe(torch.as_tensor(corpus[index][0]))
    say(one_line(f"recording {name} of {corpus.source}, test part"))
    say(one_line(f"spoken: {spoken}"))
    first, *times = _describe_words(words)
    say("\n".join([f"heard:  {first}", *times]))
    file = {"path": name, "spoken": spoken.split(), "words": [word.as_dict() for word in words]}
    return {"files": [file]}


def export(options: Namespace, say: Printer) -> dict[str, Any]:
    """Write a checkpoint's recogniser as one file that runs without this package."""
    from raytune_yesno.tasks.speech.export import SUFFIXES, choose_format, export
    from raytune_yesno.tasks.speech.recognizer import Recognizer

    format = choose_format(options.format, options.out)
    recognizer = Recognizer.load(options.checkpoint)
    name = name_model(Path(options.checkpoint).absolute())
    out = Path(options.out or f"{name}{SUFFIXES[format]}").absolute()
    about = export(recognizer, format, out)
    size = out.stat().st_size
    say(
        one_line(
            f"{out}: {size / 1e3:.0f} kB, input waveform [1, samples] at {about['sample_rate']} Hz,"
            f" output log-probabilities of blank and {len(recognizer.vocabulary)} words"
        ),
    )
    return {"file": str(out), "format": format, "bytes": size, **about}


def name_model(checkpoint: Path) -> str:
    """Return the name of the study or run that a checkpoint belongs to, else its own name."""
    from raytune_yesno.study.store import REFIT

    if checkpoint.name in ("last", "best") and checkpoint.parent.name:
        checkpoint = checkpoint.parent
        if checkpoint.name == REFIT and checkpoint.parent.name:
            checkpoint = checkpoint.parent
    return checkpoint.name


def _read_words(recognizer: "Recognizer", path: str, options: Namespace) -> Iterator["TimedWord"]:
    """Yield the words of a recording as they are recognised.

    Raises:
        InputError: the recording cannot be read.
        Interrupted: a signal stopped the work; a stream has yielded its last words before.
    """
    import torch

    from raytune_yesno.tasks.speech.recording import read_blocks, read_raw_blocks
    from raytune_yesno.tasks.speech.streaming import BLOCK_S, LIVE_BLOCK_S

    source = sys.stdin.buffer if path == "-" else path
    read_s, block_s = (LIVE_BLOCK_S, LIVE_BLOCK_S) if options.stream else (1.0, BLOCK_S)
    if options.raw is not None:
        blocks = read_raw_blocks(source, options.raw, read_s)
    else:
        blocks = read_blocks(source, read_s)
    stream = recognizer.stream(block_s)
    stopped: Interrupted | None = None
    while True:
        try:
            samples = next(blocks, None)
        except Interrupted as error:
            if not options.stream:
                raise
            samples, stopped = None, error
        if samples is None:
            break
        yield from stream.push(torch.from_numpy(samples))
    yield from stream.finish()
    if stopped:
        raise stopped


def _describe_words(words: Sequence["TimedWord"]) -> list[str]:
    """Return a line with all words, then a line for each."""
    heard = one_line(" ".join(word.word for word in words)) or "(nothing)"
    return [heard, *map(_describe_word, words)]


def _describe_word(word: "TimedWord") -> str:
    name = one_line(word.word)
    return f"  {word.start_s:6.2f} s  {word.end_s:6.2f} s  {name:<3}  {word.confidence:.3f}"
