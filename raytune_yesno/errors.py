"""What goes wrong through no fault of the program, said so that a person can mend it."""

import difflib
from collections.abc import Iterable


class InputError(ValueError):
    """Bad usage, configuration or input: one line that says what, where and what to do.

    The command line prints it and exits with code 2.
    """


class WorkError(RuntimeError):
    """The work itself failed; one line. The command line prints it and exits with code 1."""


class Interrupted(Exception):
    """A signal asked to stop; what was reached is saved.

    Attributes:
        signum: the signal.
        resume: the command that goes on, where there is one.
    """

    def __init__(self, signum: int, resume: str = "") -> None:
        super().__init__(signum)
        self.signum = signum
        self.resume = resume


def suggest_name(name: str, known: Iterable[str]) -> str:
    """Return the end of an error message about an unknown name: the nearest right one, or all."""
    options = [str(option) for option in known]
    close = difflib.get_close_matches(name, options, n=1, cutoff=0.5)
    if close:
        return f"did you mean {close[0]!r}?"
    return "choose from " + ", ".join(options)
