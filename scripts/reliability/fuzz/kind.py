"""A kind of bad input, and the verdict on one input."""

import shutil
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

from raytune_yesno.errors import InputError

LIMIT_S = 20.0
"""The most seconds that an input may take, of wall time; 0 for no limit."""
LIMIT_BYTES = 1 << 30
"""The memory that a process may take, beyond that of its libraries before the first input."""
MAX_LINE = 1000
"""The most characters of a readable line."""

OUTCOMES = ("refused", "accepted", "traceback", "hang", "silent default")


@dataclass(frozen=True)
class Kind:
    """A kind of bad input.

    Attributes:
        name: of its row in the table.
        seeds: makes good inputs, in a folder of their own.
        mutate: damages an input in one place.
        attempt: hands an input to its reader, in an empty folder. It raises what the reader
            raises, and returns what was taken otherwise than it was given, if anything was.
        traced: modules and packages; an input that reaches a new line of theirs is damaged further.
    """

    name: str
    seeds: Callable[[Path], list[Any]]
    mutate: Callable[[Random, Any], Any]
    attempt: Callable[[Any, Path], str | None]
    traced: tuple[str, ...] = ()


@dataclass(frozen=True)
class Verdict:
    """The outcome of one input, and details of a finding."""

    outcome: str
    what: str = ""

    @property
    def is_finding(self) -> bool:
        return self.outcome not in ("refused", "accepted")


class TimeUp(BaseException):
    """An input took too long; a BaseException, so that no reader catches it."""


def judge(attempt: Callable[[], str | None]) -> Verdict:
    """Try one input. Refused means an InputError of one line, within time and memory."""
    try:
        with _limited_time():
            taken_otherwise = attempt()
    except InputError as error:
        problem = find_untidy(str(error))
        return Verdict("traceback", f"{problem}: {error}"[:500]) if problem else Verdict("refused")
    except TimeUp:
        return Verdict("hang", _where(sys.exc_info()[1]))
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        return Verdict("traceback", f"{type(error).__name__}: {error}"[:300] + _where(error))
    return Verdict("silent default", taken_otherwise) if taken_otherwise else Verdict("accepted")


def find_untidy(message: str) -> str:
    """Return why a message is not one line that a terminal shows; empty if it is."""
    if len(message.splitlines()) != 1:
        return "not one line"
    if len(message) > MAX_LINE:
        return f"a line of {len(message)} characters"
    try:
        message.encode()
    except UnicodeEncodeError:
        return "half a character"
    return "control characters" if any(ord(letter) < 32 for letter in message) else ""


def _where(error: BaseException | None) -> str:
    """Return the last frames that are ours, the innermost last."""
    frames = traceback.extract_tb(error.__traceback__) if error else []
    ours = [frame for frame in frames if "raytune_yesno" in frame.filename]
    names = [f"{Path(f.filename).name}:{f.lineno} {f.name}" for f in [*ours[-3:], *frames[-1:]]]
    return " @ " + " > ".join(names)


@contextmanager
def _limited_time() -> Iterator[None]:
    def stop(signum: int, frame: object) -> None:
        raise TimeUp

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, LIMIT_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


class Reached:
    """Records which lines of some modules are reached."""

    def __init__(self, modules: tuple[str, ...]) -> None:
        within = tuple(f"{name}." for name in modules)  # of packages
        found = [name for name in sys.modules if name in modules or name.startswith(within)]
        self.files = {getattr(sys.modules[name], "__file__", None) for name in found}
        self.lines: set[tuple[str, int]] = set()
        self.fresh = False

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Set `fresh` if a line is reached that was not before."""
        self.fresh = False
        if not self.files:
            yield
            return
        before = sys.gettrace()
        sys.settrace(self._enter)
        try:
            yield
        finally:
            sys.settrace(before)

    def _enter(self, frame: Any, event: str, argument: Any) -> Any:
        return self._step if frame.f_code.co_filename in self.files else None

    def _step(self, frame: Any, event: str, argument: Any) -> Any:
        at = (frame.f_code.co_filename, frame.f_lineno)
        if at not in self.lines:
            self.lines.add(at)
            self.fresh = True
        return self._step


def try_inputs(kind: Kind, random: Random, folder: Path) -> Iterator[tuple[Any, Verdict]]:
    """Damage good inputs, and further those that reach new lines; yield each verdict, without end.

    The same random numbers give the same inputs.
    """
    good, place = folder / "good", folder / "try"
    for needed in (good, place):
        needed.mkdir(parents=True)
    pool = kind.seeds(good)
    seeds = len(pool)
    reached = Reached(kind.traced)
    number = 0
    while True:
        number += 1
        # Choose good inputs and kept ones equally often.
        pick = random.randrange(seeds) if random.random() < 0.5 else random.randrange(len(pool))
        damaged = pool[pick]
        for _ in range(random.choice((1, 1, 1, 2, 3, 5))):
            damaged = kind.mutate(random, damaged)
        here = place / str(number)
        here.mkdir()
        with reached.watching():
            verdict = judge(partial(kind.attempt, damaged, here))
        _remove(here)
        if reached.fresh and not verdict.is_finding and len(pool) < 2000:
            pool.append(damaged)
        yield damaged, verdict


def _remove(folder: Path) -> None:
    for path in folder.rglob("*"):
        if path.is_dir() and not path.is_symlink():
            path.chmod(0o755)
    shutil.rmtree(folder, ignore_errors=True)
