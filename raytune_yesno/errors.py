"""What goes wrong through no fault of the program, said so that a person can mend it."""

import difflib
import re
import shlex
from collections.abc import Iterable

_LONGEST_LINE = 600


class _Said(Exception):
    """Hold lines for people, which stay lines whatever names and values they tell of."""

    def __init__(self, *lines: str) -> None:
        super().__init__(*map(one_line, lines))

    def __str__(self) -> str:
        return "\n  ".join(self.args)


class InputError(_Said, ValueError):
    """Bad usage, configuration or input: one line that says what, where and what to do.

    Where several things are wrong at once, further lines name each. The command line prints it and
    exits with code 2.
    """


class WorkError(_Said, RuntimeError):
    """The work itself failed; one line. The command line prints it and exits with code 1."""


class UnfinishedError(WorkError):
    """The work failed, and can be resumed once the cause is mended."""


def one_line(text: str) -> str:
    """Return a text as one line that a terminal can show: cut, and without control characters."""
    text = to_utf8(text)
    if len(text) > _LONGEST_LINE:
        text = f"{text[: _LONGEST_LINE // 2]} … {text[-_LONGEST_LINE // 4 :]}"
    return escape_controls(text)


def escape_controls(text: str) -> str:
    r"""Return a text in which control characters are escaped (``\n``, ``\x1b``)."""
    if text.isprintable():
        return text
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode("ascii")
        for letter in text
    )


def to_utf8(text: str) -> str:
    """Return a text without halves of surrogate pairs, which UTF-8 cannot hold.

    Python has them for bytes of file names that are not UTF-8: byte 255 is written ``\\xff``.
    """
    return re.sub("[\ud800-\udfff]", lambda found: _escape(found[0]), text)


def _escape(half: str) -> str:
    number = ord(half)
    return f"\\x{number - 0xDC00:02x}" if 0xDC80 <= number <= 0xDCFF else f"\\u{number:04x}"


def quote(text: str) -> str:
    """Return a text as one word for a shell, in printable characters."""
    if text.isprintable():
        return shlex.quote(text)
    # What bash, zsh and ksh read as bytes.
    letters = (
        letter if letter.isprintable() and letter not in "'\\" else _quote_bytes(letter)
        for letter in text
    )
    return f"$'{''.join(letters)}'"


def _quote_bytes(letter: str) -> str:
    return "".join(f"\\{byte:03o}" for byte in letter.encode("utf-8", "surrogateescape"))


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


def find_interruption(error: BaseException) -> Interrupted | None:
    """Return the interruption that an exception is, or that it came of.

    Where a signal is handled in the midst of Ray's compiled code, a SystemError comes over it.
    """
    found: BaseException | None = error
    while found:
        if isinstance(found, Interrupted):
            return found
        found = found.__cause__ or found.__context__
    return None


def suggest_name(name: str, known: Iterable[str]) -> str:
    """Return the end of an error message about an unknown name: the nearest right one, or all."""
    options = [str(option) for option in known]
    close = difflib.get_close_matches(name, options, n=1, cutoff=0.5)
    if close:
        return f"did you mean {close[0]!r}?"
    return "choose from " + ", ".join(options)
