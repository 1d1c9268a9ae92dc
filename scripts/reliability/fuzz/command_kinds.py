"""Bad command lines, passed to `main`, which is stopped before the work."""

import argparse
import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any
from unittest import mock

from raytune_yesno import cli
from raytune_yesno.errors import InputError
from raytune_yesno.tasks.speech.folder import FOLDER
from reliability.fuzz.checkpoint_kinds import good_checkpoints
from reliability.fuzz.kind import Kind, find_untidy
from reliability.fuzz.mutations import VALUES, misspell
from reliability.fuzz.record_kinds import write_study
from reliability.fuzz.settings_kinds import SETTINGS, damage_assignment
from reliability.fuzz.sound_kinds import good_folders, write_files

Words = tuple[str, ...]
GOOD: Path | None = None  # the folder of good files, which commands are handed by relative names

COMMANDS: tuple[Words, ...] = (
    ("train", "--data", "synthetic:10", "--num-workers", "0"),
    ("train", "--data", "corpus", "--set", "epochs=1", "--out", "new"),
    ("tune", "--data", "synthetic:10", "--trials", "2", "--config", "settings.yaml"),
    ("tune", "--resume", "study", "--add-trials", "1"),
    ("tune", "--search", "manual", "--point", "dropout=0.1", "--epochs", "1"),
    ("tune", "--search", "random", "--scheduler", "asha", "--space", "space.yaml"),
    ("tune", "--warm-start", "study", "--trials", "3"),
    ("tune", "--replay", "study", "0"),
    ("evaluate", "yesno", "--data", "corpus"),
    ("predict", "yesno", "corpus/waves_yesno/0_0_1.wav"),
    ("report", "study", "--out", "report"),
    ("report", "study", "other", "--export", "t.csv", "--top", "2"),
    ("corpus", "check", "corpus"),
    ("corpus", "show", "0", "corpus"),
    ("corpus", "synthesize", "made", "--recordings", "4"),
    ("corpus", "fetch", "made", "--url", "file:///nowhere"),
)
PLACES: tuple[str, ...] = (
    "",
    ".",
    "nowhere",
    "corpus",
    "study",
    "settings.yaml",
    "new",
    "/proc/version",
    "/dev/null",
    "yesno",
    "sine",
    "~",
    "~nobody/x",
    "x" * 300,
    "file:///nowhere",
    "bogus://x",
    "a\nb",
    "é",
    "file:///",
    "s3://",
    "://",
    "/root/../dev/full",
    "study/study.jsonl",
    "locked/new",
    "\udcff",
)


# These request a traceback, or run without end.
_LEFT_OUT = ("help", "watch", "debug")


def make_good_files(folder: Path) -> list[Words]:
    """Write the files that good commands name."""
    global GOOD
    GOOD = folder
    good_checkpoints(folder)
    write_files(good_folders(folder)[0], folder / "corpus" / FOLDER)
    write_study(folder / "study")
    write_study(folder / "other")
    (folder / "settings.yaml").write_bytes(SETTINGS[0])
    (folder / "space.yaml").write_text("dropout: {float: [0, 0.5]}\n")
    return list(COMMANDS)


def damage_command(random: Random, words: Words) -> Words:
    """Change, add or drop a word of a command."""
    new = list(words)
    at = random.randrange(len(new))
    match random.randrange(7):
        case 0:
            del new[at]
        case 1:
            new[at] = misspell(random, new[at]) if new[at] else "x"
        case 2:
            new[at] = random.choice(PLACES)
        case 3:
            new[at] = str(random.choice(VALUES)).replace("\x00", "")[:3000]
        case 4:
            new += ["--set", damage_assignment(random, ())[0]]
        case _:
            new += _draw_option(random, new)
    return tuple(new) or ("train",)


def _draw_option(random: Random, words: list[str]) -> list[str]:
    parser: Any = cli.build_parser()
    for word in words[:2]:
        table = next(
            (a.choices for a in parser._actions if isinstance(a, argparse._SubParsersAction)), {}
        )
        parser = table.get(word, parser)
    actions = [a for a in parser._actions if a.option_strings and a.dest not in _LEFT_OUT]
    if not actions:
        return ["--x"]
    action = random.choice(actions)
    if action.nargs == 0:
        return [action.option_strings[0]]
    value = random.choice(PLACES if random.random() < 0.5 else [str(v)[:2000] for v in VALUES])
    return [action.option_strings[0], value.replace("\x00", "")]


class _BegunError(BaseException):
    """The command was accepted: its work would begin here."""


def _begin(*_: Any, **__: Any) -> Any:
    raise _BegunError


def try_command(words: Words, folder: Path) -> str | None:
    assert GOOD
    for path in GOOD.iterdir():  # a copy: one try must not spoil another
        _copy(path, folder / path.name)
    (folder / "locked").mkdir(mode=0o500)
    before = _look(folder)
    begun = False
    with _inside(folder), _said() as said:
        try:
            code = cli.main(words)
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else 1
        except _BegunError:
            begun, code = True, 0
    text = said[0]
    if begun or code == 0:
        return None
    lines = text.splitlines()
    if code == 1 and "(--debug shows the traceback)" in text:
        raise ValueError(f"an unforeseen error: {lines[-1][:300]}")
    if code == 2:
        if words[:2] == ("corpus", "check"):
            raise InputError("the corpus is not good")
        if (written := _look(folder)) != before:
            raise ValueError(f"refused, and wrote {sorted(written ^ before)[:3]}")
        told = [line for line in lines if line.startswith("raytune-yesno: ")]
        if len(told) != 1 or find_untidy(told[0]):
            raise ValueError(f"not one line: {lines[-3:]}")
        raise InputError(told[0])
    return None  # code 1: the work itself failed, as was said


def _copy(source: Path, target: Path) -> None:
    if not source.is_dir():
        os.link(source, target)
        return
    target.mkdir()
    for path in source.iterdir():
        _copy(path, target / path.name)


def _look(folder: Path) -> set[tuple[str, int]]:
    return {(str(p), 0 if p.is_dir() else p.lstat().st_size) for p in folder.rglob("*")}


@contextlib.contextmanager
def _inside(folder: Path) -> Iterator[None]:
    """Run in a folder, and stop before a cluster is started or a model trained."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        with (
            open(os.devnull) as nowhere,
            mock.patch("raytune_yesno.cluster.session.ray_session", _begin),
            mock.patch("raytune_yesno.training.run.run_training", _begin),
            mock.patch(
                "raytune_yesno.tasks.speech.synthetic.MAX_RECORDINGS", 100
            ),  # more would be work
            mock.patch("sys.stdin", nowhere),
            mock.patch.dict(
                os.environ, {"HOME": str(folder), "MPLCONFIGDIR": tempfile.gettempdir()}
            ),
        ):
            yield
    finally:
        os.chdir(before)


@contextlib.contextmanager
def _said() -> Iterator[list[str]]:
    """Yield a list that receives the lines written to standard error meanwhile."""
    said: list[str] = []
    sys.stderr.flush()
    with tempfile.TemporaryFile() as file:
        kept = os.dup(2)
        os.dup2(file.fileno(), 2)
        before = sys.stderr
        sys.stderr = os.fdopen(os.dup(2), "w", errors="backslashreplace")
        try:
            yield said
        finally:
            with contextlib.suppress(ValueError, OSError):
                sys.stderr.close()
            sys.stderr = before
            os.dup2(kept, 2)
            os.close(kept)
            file.seek(0)
            said.append(file.read().decode(errors="replace"))


KINDS: tuple[Kind, ...] = (
    Kind(
        "command lines",
        make_good_files,
        damage_command,
        try_command,
        (
            "raytune_yesno",
            "raytune_yesno.commands.settings",
            "raytune_yesno.commands.common",
            "argparse",
        ),
    ),
)
