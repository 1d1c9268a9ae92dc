"""Errors of the user's own code: in one line, with its own lines of the traceback.

A :class:`TaskError` holds text alone. It can be sent to the driver, which may lack the class of the
original error, and is not confused with Ray's own errors.
"""

import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

from raytune_yesno.errors import (
    EveryTrialFails,
    InputError,
    TaskFailed,
    UnfinishedError,
    find_interruption,
    one_line,
)
from raytune_yesno.user_code.ownership import is_own

ONE_TRIAL, EVERY_TRIAL, NEW_STUDY = "", "every trial", "new study"
"""The scopes of an error: it fails its own trial; it ends the study; it ends a study in which no
epoch was trained, and later fails its own trial."""


class TaskError(Exception):
    """An error in a task: raised by the user's code, or in what it reported.

    It is not retried, unlike the loss of a process.

    Attributes:
        line: what is wrong, in one line.
        lines: the lines of the traceback that lie in the user's own code.
        scope: which trials would fail in the same way, one of :data:`ONE_TRIAL`,
            :data:`NEW_STUDY` and :data:`EVERY_TRIAL`.
        is_input: whether it was an InputError, which says what to do.
    """

    def __init__(
        self, line: str, lines: str = "", scope: str = "", *, is_input: bool = False
    ) -> None:
        super().__init__(line, lines, scope)
        self.line, self.lines, self.scope, self.is_input = line, lines, scope, is_input

    def __str__(self) -> str:
        return self.line


@contextmanager
def report_errors(passed: Callable[[BaseException], bool]) -> Iterator[None]:
    """Convert errors of the user's code to :class:`TaskError`.

    Args:
        passed: returns whether an error is not the user's, such as a lost connection.
    """
    try:
        yield
    except (TaskError, UnfinishedError, StopIteration):
        raise
    except InputError as error:
        scope = NEW_STUDY if isinstance(error, EveryTrialFails) else ONE_TRIAL
        raise TaskError(str(error), "", scope, is_input=True) from error
    except (KeyboardInterrupt, GeneratorExit):
        raise
    except BaseException as error:  # also SystemExit, and the panics of compiled libraries
        if passed(error):
            raise
        raise TaskError(*describe_error(error)) from error


@contextmanager
def stopped_by_errors(what: str) -> Iterator[None]:
    """Let an error of the user's code stop the work of this process.

    Args:
        what: what has failed, for the message.

    Raises:
        InputError: the code raised one.
        TaskFailed: it raised another error; the message has its own lines of the traceback.
    """
    try:
        with report_errors(lambda error: find_interruption(error) is not None):
            yield
    except TaskError as error:
        if isinstance(error.__cause__, InputError):
            raise error.__cause__ from None
        raise unfinished(what, error) from error


def unfinished(what: str, error: TaskError) -> TaskFailed | InputError:
    """Return the error that stops the work, with the user's own lines of the traceback.

    It is an InputError again if it was one: in a worker as in this process.
    """
    if error.is_input:
        return InputError(*map(str.strip, error.line.splitlines()))
    return TaskFailed(f"{what}: {error.line}", *error.lines.splitlines())


def describe_error(error: BaseException) -> tuple[str, str]:
    """Return an error as one line, and the lines of its traceback in the user's own code.

    The line ends with the error that caused it: the first one of a chain, or of a group.
    """
    if isinstance(error.__cause__, StopIteration):  # Python replaces it in a generator
        error = error.__cause__
    chain = [error]
    while (cause := _find_cause(chain[-1])) and not any(cause is each for each in chain):
        chain.append(cause)
    line = ", caused by ".join(map(_describe_alone, (error, *chain[1:][-1:])))
    return line, "".join(traceback.format_list(_own_frames(error.__traceback__)))


def _find_cause(error: BaseException) -> BaseException | None:
    group = getattr(error, "exceptions", None)  # of an ExceptionGroup, from Python 3.11 on
    first = group[0] if isinstance(group, tuple) and group else None
    return first if isinstance(first, BaseException) else error.__cause__


def _describe_alone(error: BaseException) -> str:
    if isinstance(error, SyntaxError) and error.filename:
        return f"{type(error).__name__}: {error.msg} ({error.filename}:{error.lineno})"
    try:
        said = one_line(str(error).strip().partition("\n")[0])
    except Exception:  # of a method of the user's
        said = ""
    line = f"{type(error).__name__}: {said}" if said else type(error).__name__
    frames = _own_frames(error.__traceback__)
    return f"{line} ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else line


def _own_frames(trace: TracebackType | None) -> list[traceback.FrameSummary]:
    return [frame for frame in traceback.extract_tb(trace) if is_own(frame.filename)]
