"""Progress on a stream: a rewritten block of lines on a terminal, plain lines elsewhere."""

import os
import sys
import textwrap
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TextIO

from raytune_yesno.commands.terminal import clear_progress, own_terminal
from raytune_yesno.errors import escape_controls
from raytune_yesno.metrics import Objective
from raytune_yesno.text import WIDTH, format_seconds

if TYPE_CHECKING:
    from raytune_yesno.tuning.progress import Progress

_PLAIN_EVERY_S = 5.0
_BAR = 10


class Display:
    """The progress of a command on a stream [standard error].

    On a terminal it is a block of lines that is drawn again on every change, no wider and no higher
    than the terminal. It has no colours.

    Args:
        stream: the stream.
        quiet: show no progress, only remarks.
    """

    def __init__(self, stream: TextIO | None = None, *, quiet: bool = False) -> None:
        self.stream = stream or sys.stderr
        self.quiet = quiet
        self.live = self.stream.isatty() and os.environ.get("TERM") != "dumb"
        self.began = time.monotonic()
        self.shown_at = -_PLAIN_EVERY_S
        self.shown: list[str] = []

    def __enter__(self) -> "Display":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def size(self) -> os.terminal_size:
        """Columns and lines of the terminal; 80 columns if there is none."""
        try:
            found = os.get_terminal_size(self.stream.fileno())
        except (OSError, ValueError):
            found = os.terminal_size((0, 0))
        return os.terminal_size((found.columns or WIDTH, found.lines or 24))

    def show(self, line: str, *more: str, important: bool = False) -> None:
        """Show a line, and on a terminal ``more`` below it.

        Elsewhere the line is printed if it is important or the last one is 5 s old.
        """
        now = time.monotonic()
        if self.quiet:
            return
        if self.live:
            columns, lines = self.size
            own_terminal(self._erase)
            self._clear()
            self.shown = [text[: columns - 1] for text in (line, *more)[: max(1, lines - 2)]]
            self._draw()
        elif [line] != self.shown and (important or now - self.shown_at >= _PLAIN_EVERY_S):
            self.stream.write(line + "\n")
            self.shown_at = now
            self.shown = [line]
        self.stream.flush()

    def _clear(self) -> None:
        """Erase the block; the cursor is at the end of its last line."""
        up = f"\x1b[{len(self.shown) - 1}A" if len(self.shown) > 1 else ""
        self.stream.write(f"\r{up}\x1b[J")

    def _draw(self) -> None:
        self.stream.write("\n".join(self.shown))

    def _erase(self) -> None:
        if self.shown:
            self._clear()
            self.stream.flush()
        self.shown = []

    def close(self) -> None:
        """Keep the first line of the block and end it with a newline."""
        if self.live and self.shown:
            first = self.shown[0]
            clear_progress()
            self.stream.write(first + "\n")
            self.stream.flush()
        self.shown = []

    def remark(self, line: str) -> None:
        """Print a permanent line above the progress."""
        shown = self.shown if self.live else []
        clear_progress()
        self.stream.write(fit_lines(line, self.stream) + "\n")
        if shown:
            self.show(*shown)
        self.stream.flush()

    def show_bytes(self, done: int, total: int | None) -> None:
        """Show the progress of a download, in bytes."""
        whole = f" of {total / 1e6:.1f}" if total else ""
        share = f"{bar(done / total)} " if total else ""
        self.show(f"{share}{done / 1e6:.1f}{whole} MB", important=done == total)

    def show_count(self, done: int, total: int, what: str = "") -> None:
        """Show how many items of a list are done; ``what`` names them."""
        self.show(f"{bar(done / total)} {done}/{total} {what}".rstrip())

    def show_epoch(self, metrics: dict[str, Any], epochs: int, objective: Objective) -> None:
        """Show the metrics of an epoch and the time left, in a run of ``epochs``."""
        epoch = metrics["epoch"]
        left = format_seconds(metrics["seconds"] * (epochs - epoch))
        parts = [f"{bar(epoch / epochs)} epoch {epoch}/{epochs}"]
        parts.extend(describe_each(metrics, objective))
        self.show(self._join([*parts, f"{left} left"]), important=epoch == epochs)

    def show_search(self, progress: "Progress") -> None:
        """Show a search: a bar, time left, the best trial so far, and the running trials."""
        ended = sum(progress.ended.values())
        parts = [f"{bar(ended / progress.asked_for)} {ended}/{progress.asked_for}"]
        if ended and ended < progress.asked_for:
            elapsed = time.monotonic() - self.began
            parts.append(f"{format_seconds(elapsed / ended * (progress.asked_for - ended))} left")
        if progress.best:
            first, *others = describe_each(progress.best, progress.objective) or [""]
            parts += [f"best {first}", *others]
        states = {**progress.ended, "running": len(progress.running)}
        # _join drops the last parts first, so problems come before the rest.
        order = ("failed", "diverged", "running", "stopped", "done")
        parts.extend(f"{states[state]} {state}" for state in order if states[state])
        table = self._describe_running(progress) if self.live else []
        self.show(self._join(parts), *table, important=ended == progress.asked_for)

    def _describe_running(self, progress: "Progress") -> list[str]:
        lines = []
        for trial, metrics in sorted(progress.running.items()):
            epoch = metrics["epoch"] if metrics else 0
            parts = [f"  trial {trial:<4} epoch {epoch}/{progress.epochs_per_trial}"]
            known = describe_each(metrics, progress.objective) if metrics else ["starting"]
            parts.extend(known)
            lines.append(self._join(parts))
        return lines

    def _join(self, parts: Sequence[str]) -> str:
        return join_fitting(parts, self.size.columns if self.live else WIDTH)


class Printer:
    """Prints the results of a command as text.

    Args:
        stream: the stream of results; standard error if ``--json`` was given.
    """

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def __call__(self, *words: object) -> None:
        """Print a line."""
        clear_progress()
        print(fit_lines(" ".join(map(str, words)), self.stream), file=self.stream, flush=True)


def fit_lines(text: str, stream: TextIO) -> str:
    """Escape control characters: names and values may come from strangers.

    For a terminal, break lines that are wider than it between words. Lines with a command are left
    whole, so that it can be copied.
    """
    lines = list(map(escape_controls, text.split("\n")))
    if stream.isatty():
        columns = Display(stream).size.columns
        lines = [part for line in lines for part in _break_line(line, columns)]
    return "\n".join(lines)


def _break_line(line: str, columns: int) -> list[str]:
    if len(line) <= columns or "raytune-yesno " in line:
        return [line]
    indent = " " * (len(line) - len(line.lstrip()) + 2)
    return textwrap.wrap(
        line, columns - 1, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )


def join_fitting(parts: Sequence[str], width: int = WIDTH) -> str:
    """Join the parts that fit on a line; none is cut, since a cut number would mislead."""
    line = ""
    for part in parts:
        if len(line) + 2 + len(part) < width:
            line += "  " * bool(line) + part
    return line


def bar(share: float) -> str:
    """Return a bar of 10 characters in brackets; ``share`` is the part done, from 0 to 1."""
    filled = round(min(1.0, share) * _BAR)
    return "[" + "#" * filled + "." * (_BAR - filled) + "]"


def describe(metrics: dict[str, Any], objective: Objective) -> str:
    """Return the metrics of the objective, as text."""
    return "  ".join(describe_each(metrics, objective))


def describe_each(metrics: dict[str, Any], objective: Objective) -> list[str]:
    """Return each metric of the objective that is known, as text, the one that decides first."""
    return [
        f"{metric.title} {metric.show(metrics[metric.name])}"
        for metric in objective.metrics
        if metrics.get(metric.name) is not None
    ]
