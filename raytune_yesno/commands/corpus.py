"""The commands ``corpus fetch``, ``synthesize``, ``check`` and ``show``."""

from argparse import Namespace
from pathlib import Path
from typing import Any, TextIO

from raytune_yesno.commands.common import describe_corpus, say
from raytune_yesno.commands.display import Display
from raytune_yesno.errors import InputError, one_line


def fetch(options: Namespace, results: TextIO) -> dict[str, Any]:
    """Download YESNO, unless the folder holds it already."""
    from raytune_yesno.tasks.speech import download
    from raytune_yesno.tasks.speech.folder import read_folder

    folder = Path(options.folder or download.cache_folder())
    display = Display()
    try:
        fetched = download.fetch(
            folder, url=options.url or download.URL, progress=display.show_bytes
        )
    finally:
        display.close()
    corpus = read_folder(folder)
    say(options, results, "downloaded and verified:" if fetched else "already present:", folder)
    return describe_corpus(corpus, folder)


def synthesize(options: Namespace, results: TextIO) -> dict[str, Any]:
    """Write the built-in corpus to a folder."""
    from raytune_yesno.tasks.speech.synthetic import synthesize, write_corpus

    corpus = synthesize(options.recordings, options.seed)
    folder = write_corpus(corpus, options.folder)
    say(options, results, f"{len(corpus)} recordings in", folder)
    return describe_corpus(corpus, folder)


def check(options: Namespace, results: TextIO) -> dict[str, Any]:
    """Print all problems of a corpus; the exit code is 2 if there are any."""
    from raytune_yesno.tasks.speech.corpus import Corpus
    from raytune_yesno.tasks.speech.download import find_yesno
    from raytune_yesno.tasks.speech.folder import Problem, check_folder
    from raytune_yesno.tasks.speech.load import load_corpus

    data = options.folder or options.data
    corpus: Corpus | None = None
    problems: list[Problem] = []
    if data.split(":")[0] == "synthetic":
        corpus = load_corpus(data)
    else:
        folder = find_yesno(Display().show_bytes) if data == "yesno" else Path(data)
        corpus, problems = check_folder(folder)
    for problem in problems:
        say(options, results, problem)
    result: dict[str, Any] = {"recordings": 0, "words": 0, "fingerprint": None}
    if corpus:
        result = describe_corpus(corpus, None)
        notes = "".join(f", {note}" for note in corpus.notes)
        say(
            options,
            results,
            f"{one_line(corpus.source)}: {len(corpus)} good recordings, {corpus.num_words} words, "
            f"fingerprint {corpus.fingerprint}{notes}",
        )
    result["problems"] = [str(problem) for problem in problems]
    return {**result, "exit_code": 2 if problems else 0}


def show(options: Namespace, results: TextIO) -> dict[str, Any]:
    """Print one recording: waveform, sample rate, labels and a plot in text.

    Raises:
        InputError: the corpus has no recording of that number.
    """
    from raytune_yesno.commands.plots import draw_text, save_picture
    from raytune_yesno.tasks.speech.load import load_corpus

    corpus = load_corpus(options.folder or options.data, skip_bad=options.skip_bad)
    if not 0 <= options.number < len(corpus):
        raise InputError(
            f"there is no recording {options.number}: give a number from 0 to {len(corpus) - 1}"
        )
    waveform, sample_rate, labels = corpus[options.number]
    if options.picture:
        save_picture(waveform, corpus.names[options.number], Path(options.picture))
    say(
        options,
        results,
        f"Waveform: {waveform}\nSample rate: {sample_rate}\nLabels: {labels}\n\n"
        f"{draw_text(waveform, width=76)}",
    )
    return {
        **describe_corpus(corpus, None),
        "name": corpus.names[options.number],
        "samples": waveform.shape[-1],
        "sample_rate": sample_rate,
        "labels": labels,
    }
