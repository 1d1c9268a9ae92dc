"""The commands ``corpus fetch``, ``synthesize``, ``check`` and ``show``."""

from argparse import Namespace
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from raytune_yesno.commands.common import describe_corpus
from raytune_yesno.commands.display import Display, Printer
from raytune_yesno.commands.settings import DEFAULT_DATA, refuse_flags
from raytune_yesno.config import build_config
from raytune_yesno.errors import JOINERS, InputError, one_line
from raytune_yesno.home import cache_folder
from raytune_yesno.text import plural
from raytune_yesno.values import parse_assignments

if TYPE_CHECKING:
    from raytune_yesno.tasks.speech.corpus import Corpus


def fetch(options: Namespace, say: Printer) -> dict[str, Any]:
    """Download YESNO, unless the folder holds it already."""
    from raytune_yesno.tasks.speech import download
    from raytune_yesno.tasks.speech.folder import read_folder
    from raytune_yesno.tasks.speech.load import describe_missing

    folder = Path(options.folder or cache_folder())
    with Display() as display:
        fetched = download.fetch(
            folder, url=options.url or download.URL, progress=display.show_bytes
        )
    corpus = read_folder(folder)
    done = "downloaded and verified" if fetched else "already present"
    missing = "" if options.url else describe_missing("yesno", corpus)
    say(one_line(f"{done}: {folder}{missing and ', ' + missing}"))
    return describe_corpus(corpus, folder)


def synthesize(options: Namespace, say: Printer) -> dict[str, Any]:
    """Write the built-in corpus to a folder."""
    from raytune_yesno.tasks.speech.synthetic import synthesize, write_corpus

    corpus = synthesize(options.recordings, options.seed)
    folder = write_corpus(corpus, options.folder)
    say(one_line(f"{plural(len(corpus), 'recording')} in {folder}"))
    return describe_corpus(corpus, folder)


def check(options: Namespace, say: Printer) -> dict[str, Any]:
    """Print what a corpus has and all its problems; the exit code is 2 if there are any."""
    from raytune_yesno.tasks.speech.declaration import SpeechTask
    from raytune_yesno.tasks.speech.layouts import Problem
    from raytune_yesno.tasks.speech.load import check_corpus
    from raytune_yesno.tasks.speech.settings import as_speech, split_options
    from raytune_yesno.tasks.speech.split import split_corpus
    from raytune_yesno.tasks.speech.transcript import PARTS

    config = as_speech(build_config(parse_assignments(options.assignments)))
    with Display() as display:
        corpus, problems, _ = check_corpus(_choose_data(options), display.show_bytes)
    refused = corpus is None or bool(problems and not options.skip_bad)
    if corpus:
        try:
            split = split_corpus(corpus, seed=config.seed, **split_options(config))
        except InputError as error:
            problems.append(Problem(corpus.source, str(error)))
            refused = True
    for problem in problems:
        say(problem)
    result: dict[str, Any] = {"recordings": 0, "words": 0, "fingerprint": None}
    if corpus:
        result = describe_corpus(corpus, None)
        notes = "".join(f", {note}" for note in corpus.notes)
        say(
            f"{one_line(corpus.source)}: {plural(len(corpus), 'good recording')}, "
            f"{plural(corpus.num_words, 'word')}, fingerprint {corpus.fingerprint}{notes}",
        )
        contents = describe_contents(corpus)
        say(format_contents(corpus, contents))
        result |= contents
        if not refused:
            parts = {part: len(getattr(split, part)) for part in PARTS}
            say("parts:", ", ".join(f"{n} {part}" for part, n in parts.items()))
            result["parts"] = parts
            for remark in SpeechTask.remarks(config, corpus):
                say(remark)
    result["problems"] = [str(problem) for problem in problems]
    return {**result, "exit_code": 2 if refused else 0}


def show(options: Namespace, say: Printer) -> dict[str, Any]:
    """Print one recording: waveform, sample rate, labels and a plot in text.

    Raises:
        InputError: the corpus has no recording of that number.
    """
    from raytune_yesno.commands.plots import draw_text, save_picture
    from raytune_yesno.tasks.speech.load import load_corpus

    with Display() as display:
        corpus = load_corpus(
            _choose_data(options), skip_bad=options.skip_bad, progress=display.show_bytes
        )
    if not 0 <= options.number < len(corpus):
        raise InputError(
            f"there is no recording {options.number}: give a number from 0 to {len(corpus) - 1}"
        )
    waveform, sample_rate, labels = corpus[options.number]
    if options.picture:
        save_picture(waveform, corpus.names[options.number], Path(options.picture))
    say(
        f"{one_line(corpus.names[options.number])}: {one_line(corpus.words_of(options.number))}\n"
        f"Waveform: {waveform}\nSample rate: {sample_rate}\nLabels: {labels}\n\n"
        f"{draw_text(waveform, width=76)}",
    )
    return {
        **describe_corpus(corpus, None),
        "name": corpus.names[options.number],
        "samples": waveform.shape[-1],
        "sample_rate": sample_rate,
        "labels": labels,
        "spoken": corpus.words_of(options.number).split(),
    }


def _choose_data(options: Namespace) -> str:
    """Return the folder or the name of the corpus that is asked for."""
    if options.folder:
        refuse_flags(options, "data", because=f"{options.folder} is given, too")
    return str(options.folder or options.data or DEFAULT_DATA)


def describe_contents(corpus: "Corpus") -> dict[str, Any]:
    """Return the layout of a corpus, and the number of its words and of recordings by speaker."""
    counts = Counter(label for words in corpus.labels for label in words)
    return {
        "layout": corpus.layout,
        "vocabulary": {word: counts[label] for label, word in enumerate(corpus.vocabulary)},
        "speakers": dict(sorted(Counter(corpus.speakers).items())),
    }


def format_contents(corpus: "Corpus", contents: Mapping[str, Any]) -> str:
    """Return a few lines about layout, words and speakers."""
    from raytune_yesno.tasks.speech.transcript import list_words

    lengths = np.diff(corpus.offsets) / corpus.sample_rate
    lines = [f"layout: {corpus.layout or 'built in'}"]
    columns = {"words": contents["vocabulary"], "speakers": contents["speakers"]}
    for title, counts in columns.items():
        if counts:
            shown = ", ".join(f"{name or '(none)'} {count}" for name, count in counts.items())
            lines.append(one_line(f"{title}: {len(counts)}: {shown}"))
    lines.append(
        f"length: {lengths.min():.2f} to {lengths.max():.2f} s, {lengths.sum():.0f} s in all"
    )
    visible = str.maketrans("", "", JOINERS)
    for title, names in columns.items():
        folded = {name: name.casefold().translate(visible) for name in names}
        counts = Counter(folded.values())
        if alike := [name for name in names if counts[folded[name]] > 1]:
            lines.append(
                f"different {title} that differ in upper case or joiners only: {list_words(alike)}"
            )
    return "\n".join(lines)
