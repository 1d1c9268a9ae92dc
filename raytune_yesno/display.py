"""What a person sees of work in progress: one line that is rewritten, or plain lines in a pipe."""

import sys
import time
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from raytune_yesno.tune import Progress

WIDTH = 80
_PLAIN_EVERY_S = 5.0
_BAR = 16


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

    def show_bytes(self, done: int, total: int | None) -> None:
        """Show a download."""
        whole = f" of {total / 1e6:.1f}" if total else ""
        share = f"{bar(done / total)} " if total else ""
        self.show(f"{share}{done / 1e6:.1f}{whole} MB", important=done == total)

    def show_epoch(self, metrics: dict[str, Any], epochs: int) -> None:
        """Show an epoch of training."""
        epoch = metrics["epoch"]
        left = format_seconds(metrics["seconds"] * (epochs - epoch))
        self.show(
            f"{bar(epoch / epochs)} epoch {epoch}/{epochs}  {describe(metrics)}  {left} left",
            important=epoch == epochs,
        )

    def show_search(self, progress: "Progress") -> None:
        """Show a search: a bar, trials by state, the best so far, time left."""
        ended = sum(progress.ended.values())
        states = {"running": progress.running, **progress.ended}
        counts = ", ".join(f"{count} {state}" for state, count in states.items() if count)
        left = ""
        if ended and ended < progress.asked_for:
            elapsed = time.monotonic() - self.began
            left = f"  {format_seconds(elapsed / ended * (progress.asked_for - ended))} left"
        best = f"  best {describe_short(progress.best)}" if progress.best else ""
        self.show(
            f"{bar(ended / progress.asked_for)} {ended}/{progress.asked_for}: {counts}{best}{left}",
            important=ended == progress.asked_for,
        )


def bar(share: float) -> str:
    """Return a bar of 16 characters."""
    filled = round(min(1.0, share) * _BAR)
    return "[" + "#" * filled + "." * (_BAR - filled) + "]"


def describe(metrics: dict[str, Any]) -> str:
    """Return the figures of an epoch for people."""
    parts = [f"train loss {metrics['train_loss']:.4g}"]
    if metrics.get("valid_loss") is not None:
        parts.append(f"valid loss {metrics['valid_loss']:.4g}")
    if metrics.get("valid_wer") is not None:
        parts.append(f"wer {metrics['valid_wer']:.1%}")
    return "  ".join(parts)


def describe_short(metrics: dict[str, Any]) -> str:
    """Return the loss and word error rate of an epoch."""
    wer = f" ({metrics['valid_wer']:.1%})" if metrics.get("valid_wer") is not None else ""
    return f"{metrics['valid_loss']:.3g}{wer}"


def format_seconds(seconds: float) -> str:
    """Return 0:05, 12:34 or 1:02:03."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
