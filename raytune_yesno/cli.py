"""The program: it parses the command line, runs a command and returns its exit code.

:mod:`raytune_yesno.commands.options` declares the commands and their options,
:mod:`raytune_yesno.commands` implements them.

Exit codes: 0 done, 1 the work failed, 2 bad usage, config or input, 130 interrupted, 141 standard
output was closed by its reader, 143 terminated.
"""

import argparse
import errno
import importlib
import os
import signal
import sys
from collections.abc import Callable, Sequence
from typing import Any

from raytune_yesno import __version__
from raytune_yesno.commands.display import Printer
from raytune_yesno.commands.options.cluster import add_cluster
from raytune_yesno.commands.options.completion import add_completion
from raytune_yesno.commands.options.corpus import add_corpus
from raytune_yesno.commands.options.doctor import add_doctor
from raytune_yesno.commands.options.init import add_init
from raytune_yesno.commands.options.launch import add_launch
from raytune_yesno.commands.options.parser import Formatter, Parser
from raytune_yesno.commands.options.recognize import add_evaluate, add_export, add_predict
from raytune_yesno.commands.options.report import add_report
from raytune_yesno.commands.options.study import add_study
from raytune_yesno.commands.options.train import add_train
from raytune_yesno.commands.options.tune import add_tune
from raytune_yesno.commands.terminal import (
    ReaderGone,
    clear_progress,
    flushed_stdout,
    open_closed_streams,
    result_stream,
    tolerant_stderr,
)
from raytune_yesno.errors import InputError, Interrupted, WorkError, one_line
from raytune_yesno.files.json_text import dump_json
from raytune_yesno.home import ensure_home
from raytune_yesno.signals import stop_signals

# Errors of a path that cannot exist or that the user may not access.
_BAD_PATH = (errno.ENAMETOOLONG, errno.EACCES, errno.ELOOP)

_OUT_OF_MEMORY = b"raytune-yesno: out of memory; free some, or raise the limit (ulimit -v)\n"

Command = Callable[[argparse.Namespace, Printer], dict[str, Any]]

_EPILOG = """\
examples:
  raytune-yesno tune --data synthetic         a study on the built-in corpus
  raytune-yesno tune --task file.py:Name      a study of your own task
  raytune-yesno train --num-workers 2         one data-parallel run on YESNO
  raytune-yesno evaluate STUDY/refit/last     word error rate on the test part
  raytune-yesno predict STUDY/refit/last a.wav   the words of a recording
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code."""
    open_closed_streams()
    ensure_home()
    # The networks are small: on a busy machine, threads that spin while they wait make training ten
    # times slower. OpenMP reads this when torch is imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    debug = False
    # SIGTERM ends the work as Ctrl-C does: progress is already saved.
    with tolerant_stderr(), stop_signals(_raise_interrupted):
        try:
            with flushed_stdout():  # argparse prints help and version to it
                options = build_parser().parse_args(arguments)
            debug = options.debug
            with result_stream() as results:
                say = Printer(sys.stderr if options.json else results)
                result = _find_command(options.run)(options, say)
                exit_code = int(result.pop("exit_code", 0))
                if options.json:
                    print(dump_json(result), file=results, flush=True)
                return exit_code
        except Exception as error:
            if debug and not isinstance(error, Interrupted | ReaderGone):
                raise
            try:
                return _report_error(error)
            except MemoryError:  # there is not even enough for the line
                os.write(2, _OUT_OF_MEMORY)
                return 1


def _report_error(error: Exception) -> int:
    """Print the line that tells of an error, and return the exit code."""
    match error:
        case Interrupted():
            hint = f"; progress is saved, resume with: {error.resume}" if error.resume else ""
            line, code = f"\nstopped{hint}", 128 + error.signum
        case ReaderGone():
            return 128 + signal.SIGPIPE
        case InputError() | WorkError():
            line, code = f"raytune-yesno: {error}", 2 if isinstance(error, InputError) else 1
        case OSError(errno=number, filename=path) if number in _BAD_PATH and path:
            line, code = f"raytune-yesno: {one_line(str(path))}: {error.strerror}", 2
        case MemoryError() | ImportError() if limit := _find_memory_limit(error):
            line, code = f"raytune-yesno: out of memory: {limit}", 1
        case _:
            reason = one_line(f"{type(error).__name__}: {error}".splitlines()[0])
            line, code = f"raytune-yesno: {reason} (--debug shows the traceback)", 1
    clear_progress()
    print(line, file=sys.stderr)
    return code


def _find_memory_limit(error: Exception) -> str:
    """Return the limit on memory that explains an error, with a remedy; empty if none does."""
    import resource

    # A library that cannot be loaded for lack of memory raises ImportError.
    if isinstance(error, ImportError) and "failed to map segment" not in str(error):
        return ""
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit == resource.RLIM_INFINITY:
        return ""
    return f"the address space is limited to {limit / 1e9:.1f} GB; raise it: ulimit -v unlimited"


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    parser = Parser(
        prog="raytune-yesno",
        description="Tune and train PyTorch models on a Ray cluster. The default task is a\n"
        "recogniser of spoken yes and no; --task runs your own.",
        epilog=_EPILOG,
        formatter_class=Formatter,
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    add_corpus(commands)
    add_train(commands)
    add_tune(commands)
    add_study(commands)
    add_evaluate(commands)
    add_predict(commands)
    add_export(commands)
    add_report(commands)
    add_doctor(commands)
    add_init(commands)
    add_completion(commands, parser)
    add_launch(commands)
    add_cluster(commands)
    return parser


def _find_command(name: str) -> Command:
    module, _, function = name.partition(".")
    found: Command = getattr(importlib.import_module(f"raytune_yesno.commands.{module}"), function)
    return found


def _raise_interrupted(signum: int) -> None:
    raise Interrupted(signum)
