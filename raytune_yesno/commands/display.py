"""Progress on a stream: one rewritten line on a terminal, plain lines elsewhere."""

import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TextIO

from raytune_yesno.metrics import Objective
from raytune_yesno.text import WIDTH, format_seconds

if TYPE_CHECKING:
    from raytune_yesno.tuning.progress import Progress

_PLAIN_EVERY_S = 5.0
_BAR = 10


class Display:
    """A progress line on a stream [standard error]."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self.stream = stream or sys.stderr
        self.live = self.stream.isatty()
        self.began = time.monotonic()
        self.shown_at = 0.0
        self.shown = ""

    def show(self, line: str, *, important: bool = False) -> None:
        """Show a line: always on a terminal; elsewhere if it is important or 5 s have passed."""
        now = time.monotonic()
        if self.live:
            self.stream.write("\r\x1b[K" + line[: WIDTH - 1])
        elif line != self.shown and (important or now - self.shown_at >= _PLAIN_EVERY_S):
            self.stream.write(line + "\n")
            self.shown_at = now
        self.shown = line
        self.stream.flush()

    def close(self) -> None:
        """Keep the last line and end it with a newline."""
        if self.live and self.shown:
            self.stream.write("\n")
            self.stream.flush()
        self.shown = ""

    def remark(self, line: str) -> None:
        """Print a permanent line above the progress line."""
        if self.live:
            self.stream.write("\r\x1b[K")
        self.stream.write(line + "\n")
        if self.live and self.shown:
            self.stream.write(self.shown[: WIDTH - 1])
        self.stream.flush()

    def show_bytes(self, done: int, total: int | None) -> None:
        """Show the progress of a download, in bytes."""
        whole = f" of {total / 1e6:.1f}" if total else ""
        share = f"{bar(done / total)} " if total else ""
        self.show(f"{share}{done / 1e6:.1f}{whole} MB", important=done == total)

    def show_count(self, done: int, total: int) -> None:
        """Show how many items of a list are done."""
        self.show(f"{bar(done / total)} {done}/{total}")

    def show_epoch(self, metrics: dict[str, Any], epochs: int, objective: Objective) -> None:
        """Show the metrics of an epoch and the time left, in a run of ``epochs``."""
        epoch = metrics["epoch"]
        left = format_seconds(metrics["seconds"] * (epochs - epoch))
        parts = [f"{bar(epoch / epochs)} epoch {epoch}/{epochs}"]
        parts.append(describe(metrics, objective))
        self.show(join_fitting([*parts, f"{left} left"]), important=epoch == epochs)

    def show_search(self, progress: "Progress") -> None:
        """Show a search: a bar, time left, the best trial so far, trials by state."""
        ended = sum(progress.ended.values())
        parts = [f"{bar(ended / progress.asked_for)} {ended}/{progress.asked_for}"]
        if ended and ended < progress.asked_for:
            elapsed = time.monotonic() - self.began
            parts.append(f"{format_seconds(elapsed / ended * (progress.asked_for - ended))} left")
        if progress.best:
            parts.append(f"best {describe(progress.best, progress.objective)}")
        states = {**progress.ended, "running": progress.running}
        # join_fitting drops the last parts first, so problems come before the rest.
        order = ("failed", "diverged", "running", "stopped", "done")
        parts.extend(f"{states[state]} {state}" for state in order if states[state])
        self.show(join_fitting(parts), important=ended == progress.asked_for)


def join_fitting(parts: Sequence[str]) -> str:
    """Join the parts that fit on a line; none is cut, since a cut number would mislead."""
    line = ""
    for part in parts:
        if len(line) + 2 + len(part) < WIDTH:
            line += "  " * bool(line) + part
    return line


def bar(share: float) -> str:
    """Return a bar of 10 characters in brackets; ``share`` is the part done, from 0 to 1."""
    filled = round(min(1.0, share) * _BAR)
    return "[" + "#" * filled + "." * (_BAR - filled) + "]"


def describe(metrics: dict[str, Any], objective: Objective) -> str:
    """Return the metrics of the objective, as text."""
    return "  ".join(
        f"{metric.title} {metric.show(metrics[metric.name])}"
        for metric in objective.metrics
        if metrics.get(metric.name) is not None
    )
