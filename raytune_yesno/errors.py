"""Errors caused by input or environment, with messages that say how to fix them."""

import difflib
import re
import shlex
from collections.abc import Iterable

JOINERS = "\u200c\u200d"
"""Zero-width non-joiner and joiner, which belong to the spelling of words in some languages."""

_MAX_LINE_LENGTH = 600


class _MessageError(Exception):
    """An error of one or more printable lines, whatever names and values are put into them."""

    def __init__(self, *lines: str) -> None:
        super().__init__(*map(one_line, lines))

    def __str__(self) -> str:
        return "\n  ".join(self.args)

    def rename(self, old: str, new: str) -> None:
        """Replace a name in all lines, such as that of a temporary copy."""
        self.args = tuple(line.replace(old, new) for line in self.args)

    def _render_traceback_(self) -> list[str]:
        """Return what IPython shows: the message alone, as nothing in this package is at fault."""
        return f"{type(self).__name__}: {self}".splitlines()


class InputError(_MessageError, ValueError):
    """Bad usage, configuration or input: one line that says what, where and what to do.

    If several things are wrong, there is one further line for each. The command line prints the
    message and exits with code 2.
    """


class EveryTrialFails(InputError):
    """An error of a task that every other trial would also meet, unless one has succeeded."""


class MissingMetric(EveryTrialFails):
    """The metric that decides is not among those that a task reported."""


class WorkError(_MessageError, RuntimeError):
    """A failure of the work itself. The command line prints the message and exits with code 1."""


class UnfinishedError(WorkError):
    """A failure of work that can be resumed once its cause is fixed."""


class TaskFailed(UnfinishedError):
    """A failure of the task's own code. Waiting for storage does not help."""


def one_line(text: str) -> str:
    """Return a text as one line for a terminal: shortened, and without control characters."""
    text = to_utf8(text)
    if len(text) > _MAX_LINE_LENGTH:
        text = f"{text[: _MAX_LINE_LENGTH // 2]} … {text[-_MAX_LINE_LENGTH // 4 :]}"
    return escape_controls(text)


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, or the error's type if that is empty."""
    return next(iter(str(error).splitlines()), "") or type(error).__name__


def escape_controls(text: str) -> str:
    r"""Return a text in which control characters except joiners are escaped (``\n``, ``\x1b``)."""
    if text.isprintable():
        return text
    return "".join(
        letter
        if letter.isprintable() or letter in JOINERS
        else letter.encode("unicode_escape").decode("ascii")
        for letter in to_utf8(text)
    )


def to_utf8(text: str) -> str:
    r"""Return a text with escapes in place of lone surrogates, which UTF-8 cannot encode.

    In Python they stand for bytes of file names that are not UTF-8: byte 255 becomes ``\xff``.
    """
    return re.sub("[\ud800-\udfff]", lambda found: _escape(found[0]), text)


def _escape(surrogate: str) -> str:
    number = ord(surrogate)
    return f"\\x{number - 0xDC00:02x}" if 0xDC80 <= number <= 0xDCFF else f"\\u{number:04x}"


def quote(text: str) -> str:
    """Quote a text as one word for a shell, in printable characters."""
    if text.isprintable():
        return shlex.quote(text)
    # $'…' with octal bytes, which bash, zsh and ksh understand.
    letters = (
        letter if letter.isprintable() and letter not in "'\\" else _quote_bytes(letter)
        for letter in text
    )
    return f"$'{''.join(letters)}'"


def _quote_bytes(letter: str) -> str:
    return "".join(f"\\{byte:03o}" for byte in letter.encode("utf-8", "surrogateescape"))


class Interrupted(Exception):
    """A stop by a signal, after the work so far has been saved.

    Attributes:
        signum: the number of the signal.
        resume: the command that resumes the work; empty if there is none.
    """

    def __init__(self, signum: int, resume: str = "") -> None:
        super().__init__(signum)
        self.signum = signum
        self.resume = resume


def find_interruption(error: BaseException) -> Interrupted | None:
    """Return the interruption among an exception and its causes, if there is one.

    If a signal is handled inside Ray's compiled code, Python raises SystemError from it.
    """
    chain = list_chain(error)
    return next((each for each in chain if isinstance(each, Interrupted)), None)


def list_chain(error: BaseException, *, only_causes: bool = False) -> list[BaseException]:
    """Return an exception and those before it, the latest first.

    Each is there once. A chain may be a circle: one that is raised again, while the exception that
    it caused is handled, is part of such a circle.

    Args:
        error: the exception.
        only_causes: whether to omit those that were merely handled when another one was raised.
    """
    chain: list[BaseException] = []
    found: BaseException | None = error
    while found and not any(found is each for each in chain):
        chain.append(found)
        found = found.__cause__ or (None if only_causes else found.__context__)
    return chain


def suggest_install(extra: str) -> str:
    """Return the command that installs what an extra of this project needs.

    It names the packages themselves, so it works in a checkout, from a wheel and from an index.

    Example:
        >>> from raytune_yesno.errors import suggest_install
        >>> suggest_install("plot")
        "pip install 'matplotlib>=3.8'"
    """
    from importlib.metadata import PackageNotFoundError, requires

    try:
        declared = requires("raytune-yesno") or []
    except PackageNotFoundError:
        declared = []
    marker = re.compile(rf"\s*;\s*extra\s*==\s*[\"']{extra}[\"']")
    found = [marker.sub("", text) for text in declared if marker.search(text)]
    inner = [re.fullmatch(r"raytune-yesno\[(.*)\]", text) for text in found]
    names = [text for text, nested in zip(found, inner, strict=True) if not nested]
    for nested in filter(None, inner):
        names += [text for text in declared if re.search(rf"extra == ['\"]{nested[1]}['\"]", text)]
    packages = " ".join(shlex.quote(re.sub(r"\s*;.*", "", name)) for name in names)
    return f"pip install {packages}" if packages else f"pip install -e '.[{extra}]' in a checkout"


# What a setting is called elsewhere, and its names here, in the order of preference.
_ALIASES = {
    "algorithm": ("search",),
    "bs": ("batch_size",),
    "gpu": ("use_gpu",),
    "layers": ("hidden_layers",),
    "lr": ("learning_rate",),
    "max_concurrent_trials": ("max_concurrent",),
    "max_epochs": ("epochs",),
    "max_trials": ("trials",),
    "n_epochs": ("epochs",),
    "n_trials": ("trials",),
    "num_epochs": ("epochs",),
    "num_samples": ("trials",),
    "num_trials": ("trials",),
    "num_workers": ("num_workers", "workers_per_trial"),
    "optim": ("optimizer",),
    "output": ("out",),
    "pruner": ("scheduler",),
    "sampler": ("search",),
    "time_limit": ("time_budget",),
    "timeout": ("time_budget",),
    "units": ("hidden_units",),
    "wd": ("weight_decay",),
    "workers": ("num_workers", "workers_per_trial"),
    "workers_per_trial": ("num_workers",),
}


def find_nearest(name: str, known: Iterable[str]) -> str | None:
    """Return the valid name that an unknown one most likely means, or None.

    Example:
        >>> from raytune_yesno.errors import find_nearest
        >>> find_nearest("lr", ["epochs", "learning_rate"])
        'learning_rate'
        >>> find_nearest("--num-worker", ["--num-workers", "--out"])
        '--num-workers'
    """
    options = {_normalize(str(option)): str(option) for option in known}
    name = _normalize(name)
    for alias in _ALIASES.get(name, ()):
        if alias in options:
            return options[alias]
    close = difflib.get_close_matches(name, options, n=1, cutoff=0.5)
    return options[close[0]] if close else None


def _normalize(name: str) -> str:
    return name.lstrip("-").replace("-", "_").lower()


def suggest_name(name: str, known: Iterable[str]) -> str:
    """Return the end of an error message about an unknown name: the nearest valid name, or all."""
    options = [str(option) for option in known]
    nearest = find_nearest(name, options)
    return f"did you mean {nearest!r}?" if nearest else "choose from " + ", ".join(options)
