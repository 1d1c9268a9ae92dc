"""What a person sees of work in progress: one line that is rewritten, or plain lines in a pipe."""

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
    """Show the state of work on a stream; silent when the work is over."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self.stream = stream or sys.stderr
        self.live = self.stream.isatty()
        self.began = time.monotonic()
        self.shown_at = 0.0
        self.shown = ""

    def show(self, line: str, *, important: bool = False) -> None:
        """Show a line: at once on a terminal; in a pipe if it is important or 5 s have passed."""
        now = time.monotonic()
        if self.live:
            self.stream.write("\r\x1b[K" + line[: WIDTH - 1])
        elif line != self.shown and (important or now - self.shown_at >= _PLAIN_EVERY_S):
            self.stream.write(line + "\n")
            self.shown_at = now
        self.shown = line
        self.stream.flush()

    def close(self) -> None:
        """Leave the last line standing."""
        if self.live and self.shown:
            self.stream.write("\n")
            self.stream.flush()
        self.shown = ""

    def remark(self, line: str) -> None:
        """Print a line that stays, above the one that is rewritten."""
        if self.live:
            self.stream.write("\r\x1b[K")
        self.stream.write(line + "\n")
        if self.live and self.shown:
            self.stream.write(self.shown[: WIDTH - 1])
        self.stream.flush()

    def show_bytes(self, done: int, total: int | None) -> None:
        """Show a download."""
        whole = f" of {total / 1e6:.1f}" if total else ""
        share = f"{bar(done / total)} " if total else ""
        self.show(f"{share}{done / 1e6:.1f}{whole} MB", important=done == total)

    def show_count(self, done: int, total: int) -> None:
        """Show how much of a list is done."""
        self.show(f"{bar(done / total)} {done}/{total}")

    def show_epoch(self, metrics: dict[str, Any], epochs: int, objective: Objective) -> None:
        """Show an epoch of training."""
        epoch = metrics["epoch"]
        left = format_seconds(metrics["seconds"] * (epochs - epoch))
        parts = [f"{bar(epoch / epochs)} epoch {epoch}/{epochs}"]
        parts.append(describe(metrics, objective))
        self.show(join_fitting([*parts, f"{left} left"]), important=epoch == epochs)

    def show_search(self, progress: "Progress") -> None:
        """Show a search: a bar, trials by state, the best so far, time left."""
        ended = sum(progress.ended.values())
        parts = [f"{bar(ended / progress.asked_for)} {ended}/{progress.asked_for}"]
        if ended and ended < progress.asked_for:
            elapsed = time.monotonic() - self.began
            parts.append(f"{format_seconds(elapsed / ended * (progress.asked_for - ended))} left")
        if progress.best:
            parts.append(f"best {describe(progress.best, progress.objective)}")
        states = {**progress.ended, "running": progress.running}
        # What a person has to know of comes first.
        order = ("failed", "diverged", "running", "stopped", "done")
        parts.extend(f"{states[state]} {state}" for state in order if states[state])
        self.show(join_fitting(parts), important=ended == progress.asked_for)


def join_fitting(parts: Sequence[str]) -> str:
    """Join as many of the parts as fit on a line; part of a number would say something else."""
    line = ""
    for part in parts:
        if len(line) + 2 + len(part) < WIDTH:
            line += "  " * bool(line) + part
    return line


def bar(share: float) -> str:
    """Return a bar of 10 characters."""
    filled = round(min(1.0, share) * _BAR)
    return "[" + "#" * filled + "." * (_BAR - filled) + "]"


def describe(metrics: dict[str, Any], objective: Objective) -> str:
    """Return the figures of an epoch for people, those of the objective first."""
    return "  ".join(
        f"{metric.title} {metric.show(metrics[metric.name])}"
        for metric in objective.metrics
        if metrics.get(metric.name) is not None
    )
