"""The command line: what can be asked. What is done lies in :mod:`raytune_yesno.commands`.

Exit codes: 0 done, 1 the work failed, 2 bad usage, configuration or input, 130 interrupted, 141 the
reader of standard output has gone, 143 terminated.
"""

import argparse
import errno
import importlib
import math
import os
import signal
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn, TextIO

from raytune_yesno import __version__
from raytune_yesno.commands.terminal import (
    ReaderGone,
    flushed_stdout,
    lasting_stderr,
    open_closed_streams,
    result_stream,
)
from raytune_yesno.errors import InputError, Interrupted, WorkError, one_line
from raytune_yesno.files.json_text import dump_json
from raytune_yesno.home import ensure_home
from raytune_yesno.numerals import read_number
from raytune_yesno.study_settings import STUDY_SETTINGS, StudySetting

# A name that nothing can have, or that the user may not look at.
_NO_SUCH_PLACE = (errno.ENAMETOOLONG, errno.EACCES, errno.ELOOP)

_STOPPING = (signal.SIGINT, signal.SIGTERM)

Command = Callable[[argparse.Namespace, TextIO], dict[str, Any]]

_EPILOG = """\
examples:
  raytune-yesno tune --data synthetic         a study on the built-in corpus
  raytune-yesno train --num-workers 2         one data-parallel run on YESNO
  raytune-yesno evaluate STUDY/refit/best     word error rate on the test part
  raytune-yesno predict STUDY/refit/best recording.wav
"""


def _whole(text: str) -> int:
    return read_number(text, int)


def _real(text: str) -> float:
    return read_number(text, float)


# argparse puts these in its messages: "invalid whole number value: 'many'".
_whole.__name__, _real.__name__ = "whole number", "number"


class _Parser(argparse.ArgumentParser):
    takes_command = False
    """Words after ``--`` are another command; they are kept unread as ``command``."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        if not self.takes_command:
            return super().parse_known_args(args, namespace)
        words = list(args)
        end = words.index("--") if "--" in words else len(words)
        options, unknown = super().parse_known_args(words[:end], namespace)
        options.command = words[end + 1 :]
        return options, unknown

    def error(self, message: str) -> NoReturn:
        """Say what is wrong in one line, without argparse's table of options."""
        self.exit(
            2, f"raytune-yesno: {one_line(message)} (`{self.prog} --help` lists what there is)\n"
        )


class _Formatter(argparse.RawDescriptionHelpFormatter):
    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=30, width=80)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code."""
    open_closed_streams()
    ensure_home()
    # The networks are small: threads that wait by spinning cost ten times the work where the
    # machine has other things to do. OpenMP reads this when torch is imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    is_debugged = False
    with lasting_stderr():
        try:
            with flushed_stdout():  # help and version are printed there
                options = build_parser().parse_args(arguments)
            is_debugged = options.debug
            with result_stream() as results:
                return _run(options, results)
        except Interrupted as stop:
            saved = f", what was reached is saved; it goes on with: {stop.resume}"
            print(f"\nstopped{saved if stop.resume else ''}", file=sys.stderr)
            return 128 + stop.signum
        except ReaderGone:
            return 128 + signal.SIGPIPE
        except (InputError, WorkError) as error:
            if is_debugged:
                raise
            print(f"raytune-yesno: {error}", file=sys.stderr)
            return 2 if isinstance(error, InputError) else 1
        except Exception as error:
            if is_debugged:
                raise
            if isinstance(error, OSError) and error.errno in _NO_SUCH_PLACE and error.filename:
                place = one_line(str(error.filename))
                print(f"raytune-yesno: {place}: {error.strerror}", file=sys.stderr)
                return 2
            reason = one_line(f"{type(error).__name__}: {error}".splitlines()[0])
            print(f"raytune-yesno: {reason} (--debug shows where)", file=sys.stderr)
            return 1


def _run(options: argparse.Namespace, results: TextIO) -> int:
    # SIGTERM ends the work as Ctrl-C does: what was reached is saved already.
    for number in _STOPPING:
        signal.signal(number, _raise_interrupted)
    result: dict[str, Any] = _find_command(options.run)(options, results)
    exit_code = int(result.pop("exit_code", 0))
    if options.json:
        print(dump_json(result), file=results, flush=True)
    return exit_code


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    parser = _Parser(
        prog="raytune-yesno",
        description="Tune and train a spoken yes/no recogniser on a Ray cluster.",
        epilog=_EPILOG,
        formatter_class=_Formatter,
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    _add_corpus(commands)
    _add_train(commands)
    _add_tune(commands)
    _add_evaluate(commands)
    _add_predict(commands)
    _add_report(commands)
    _add_doctor(commands)
    _add_launch(commands)
    _add_cluster(commands)
    return parser


def _find_command(name: str) -> Command:
    module, _, function = name.partition(".")
    found: Command = getattr(importlib.import_module(f"raytune_yesno.commands.{module}"), function)
    return found


def _add_command(commands: Any, name: str, run: str, help: str, details: str = "") -> Any:
    parser = commands.add_parser(
        name,
        help=help,
        description=help + (f"\n\n{details}" if details else ""),
        formatter_class=_Formatter,
    )
    parser.set_defaults(run=run)
    parser.add_argument(
        "--json", action="store_true", help="end standard output with one JSON object"
    )
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    return parser


def _add_data(parser: Any, default: str | None = "yesno", shown: str | None = None) -> None:
    shown = shown or default
    parser.add_argument(
        "--data",
        metavar="yesno|synthetic|DIR",
        default=default,
        help="the corpus: YESNO ($YESNO_ROOT, the user's cache, or a download), the built-in "
        "synthetic[:N[:SEED]], or a folder" + (f" [{shown}]" if shown else ""),
    )
    parser.add_argument("--skip-bad", action="store_true", help="leave bad recordings out")


def _add_run_options(parser: Any) -> None:
    _add_data(parser, default=None)
    parser.add_argument("--config", metavar="FILE", help="a YAML file of settings")
    parser.add_argument(
        "--set",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        dest="assignments",
        help="change one config key; repeatable (`train --help-config` lists them)",
    )
    parser.add_argument("--task", metavar="NAME", help="what is learnt: yesno or sine [yesno]")
    parser.add_argument(
        "--metric", metavar="NAME", help="the metric that decides, as reported or as in --target"
    )
    parser.add_argument("--mode", choices=("min", "max"), help="whether its min or max is best")
    parser.add_argument("--epochs", type=_whole, metavar="N", help="short for --set epochs=N")
    parser.add_argument("--seed", type=_whole, metavar="N", help="short for --set seed=N")
    parser.add_argument(
        "--use-gpu", action="store_true", default=None, help="a GPU for every worker"
    )
    parser.add_argument("--out", metavar="DIR", help="the folder to write; new or empty")
    parser.add_argument(
        "--address",
        help="a Ray cluster to use, `auto` for this machine's [$RAY_ADDRESS, or a new one]",
    )
    parser.add_argument(
        "--num-cpus", type=_whole, metavar="N", help="logical CPUs of a new cluster"
    )
    parser.add_argument(
        "--num-gpus", type=_whole, metavar="N", help="logical GPUs of a new cluster"
    )


def _add_corpus(commands: Any) -> None:
    corpus = commands.add_parser(
        "corpus",
        help="fetch, make, check and look at corpora",
        description="Fetch, make, check and look at corpora.",
        formatter_class=_Formatter,
    )
    actions = corpus.add_subparsers(metavar="ACTION", required=True)
    fetch = _add_command(
        actions, "fetch", "corpus.fetch", "download YESNO, verify it and unpack it"
    )
    fetch.add_argument("folder", nargs="?", metavar="DIR", help="where to [the user's cache]")
    fetch.add_argument("--url", help="another place that serves the same archive")
    make = _add_command(
        actions, "synthesize", "corpus.synthesize", "write the built-in corpus to a folder"
    )
    make.add_argument("folder", metavar="DIR")
    make.add_argument("--recordings", type=_whole, default=60, metavar="N", help="how many [60]")
    make.add_argument("--seed", type=_whole, default=0, metavar="N", help="which one [0]")
    check = _add_command(actions, "check", "corpus.check", "say what is wrong with a corpus")
    check.add_argument("folder", nargs="?", metavar="DIR", help="instead of --data")
    _add_data(check)
    show = _add_command(actions, "show", "corpus.show", "look at one recording")
    show.add_argument("number", type=_whole, nargs="?", default=3, metavar="N", help="which [3]")
    show.add_argument("folder", nargs="?", metavar="DIR", help="instead of --data")
    show.add_argument("--picture", metavar="PNG", help="write the picture to a file, too")
    _add_data(show)


def _add_train(commands: Any) -> None:
    parser = _add_command(
        commands,
        "train",
        "train.train",
        "train one model",
        "Data-parallel training on a Ray cluster; the number of workers changes the\n"
        "speed, not the result.",
    )
    _add_run_options(parser)
    parser.add_argument(
        "--num-workers",
        metavar="N|LOW:HIGH",
        help="data-parallel workers [1]; 0 trains in this process, 1:4 on as many as there are",
    )
    parser.add_argument("--resume", metavar="DIR", help="go on with the run in a folder")
    parser.add_argument(
        "--help-config", action=_ConfigHelp, nargs=0, help="list the config keys and exit"
    )


def _add_tune(commands: Any) -> None:
    parser = _add_command(
        commands,
        "tune",
        "tune.tune",
        "search for the best config, refit it, test it once",
        "Trials run in parallel on a Ray cluster; selection is on the validation part\n"
        "alone; the best config is trained again on training and validation parts\n"
        "together, and the test part is read once.",
    )
    _add_run_options(parser)
    for setting in STUDY_SETTINGS:
        _add_setting(parser, setting)
    parser.add_argument(
        "--point",
        metavar="KEY=VALUE,…",
        action="append",
        help="a trial of search manual, repeatable: learning_rate=1e-3,hidden_units=64",
    )
    parser.add_argument("--space", metavar="FILE", help="a YAML file of the search space")
    parser.add_argument(
        "--workers-per-trial", type=_whole, metavar="N", help="data-parallel workers of a trial [1]"
    )
    parser.add_argument(
        "--resume", metavar="STUDY", help="go on with an interrupted study, in a folder or at a URI"
    )
    parser.add_argument(
        "--add-trials",
        type=_whole,
        metavar="N",
        help="with --resume: N trials more, of a finished study, too; then a new refit",
    )
    parser.add_argument(
        "--replay",
        nargs=2,
        metavar=("STUDY", "TRIAL"),
        help="no search: train one trial of a study again and compare the figures",
    )
    parser.add_argument(
        "--warm-start",
        nargs="+",
        metavar="STUDY",
        help="let the search know the results of other studies",
    )
    parser.add_argument(
        "--checkpoint-every",
        type=_real,
        default=10.0,
        metavar="S",
        help="save each trial every S seconds of its training: what a crash may cost [10]",
    )
    parser.add_argument(
        "--log",
        metavar="tensorboard|mlflow=URI",
        action="append",
        default=[],
        dest="logs",
        help="show the trials there, too, while they run; repeatable",
    )


def _add_setting(parser: Any, setting: StudySetting) -> None:
    """Add the flag of a study's setting, if it has one."""
    if not setting.help:
        return
    flag = "--" + setting.name.replace("_", "-")
    if setting.kind is bool:
        parser.add_argument(flag, action="store_true", default=None, help=setting.help)
    else:
        kind = {int: _whole, float: _real, str: str}[setting.kind]
        parser.add_argument(flag, type=kind, metavar=setting.metavar, help=setting.help)


def _add_evaluate(commands: Any) -> None:
    parser = _add_command(
        commands,
        "evaluate",
        "recognize.evaluate",
        "word error rate of a checkpoint in many conditions",
        "Conditions that training never used are reported apart from the others; also\n"
        "false alarms, calibration and cost. Every figure has a 95 % interval.",
    )
    parser.add_argument("checkpoint", metavar="CHECKPOINT", help="a checkpoint's folder or URI")
    _add_data(parser, default=None, shown="the one that the checkpoint was trained on")
    parser.add_argument(
        "--split",
        choices=("train", "valid", "test", "all"),
        default="test",
        help="which part, split as in the checkpoint's training [test]",
    )
    parser.add_argument(
        "--conditions",
        metavar="NAME,…",
        default="all",
        help="all, none, noise (white, pink, babble), new (all others), or kinds such as "
        "hum,codec,padding [all]",
    )
    parser.add_argument(
        "--wordless",
        type=_number_between(0, 36_000),
        default=60.0,
        metavar="S",
        help="seconds of each generated sound to count false alarms on; 0 counts none [60]",
    )
    _add_min_confidence(parser)
    parser.add_argument("--picture", metavar="PNG", help="draw the rates and their intervals")


def _add_predict(commands: Any) -> None:
    parser = _add_command(
        commands,
        "predict",
        "recognize.predict",
        "the words of recordings",
        "Recordings of any length, with bounded memory. Words from a microphone, as they\n"
        "are said:\n"
        "  arecord -f S16_LE -r 8000 | raytune-yesno predict CHECKPOINT - --stream",
    )
    parser.add_argument("checkpoint", metavar="CHECKPOINT", help="a checkpoint's folder or URI")
    parser.add_argument("files", nargs="+", metavar="WAV", help="recordings; - is standard input")
    parser.add_argument(
        "--stream", action="store_true", help="print each word as soon as it has been said"
    )
    parser.add_argument(
        "--raw",
        type=_whole,
        metavar="HZ",
        help="recordings have no header: 16 bit little-endian mono samples at HZ",
    )
    _add_min_confidence(parser)


def _add_min_confidence(parser: Any) -> None:
    parser.add_argument(
        "--min-confidence",
        type=_number_between(0, 1),
        metavar="P",
        help="leave out words below this confidence; 0 keeps all [chosen in training]",
    )


def _number_between(low: float, high: float) -> Callable[[str], float]:
    """Return what reads a flag's number from ``low`` to ``high``."""

    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"{text!r} is not a number from {low:g} to {high:g}")
        return value

    return read


def _add_report(commands: Any) -> None:
    parser = _add_command(
        commands,
        "report",
        "report.report",
        "leaderboard, table and web page of studies",
        "Writes trials.csv and report.html, one file that works offline. A study is a\n"
        "folder that `tune` wrote, any Ray Tune experiment, or the URI of either.",
    )
    parser.add_argument(
        "studies", nargs="+", metavar="STUDY", help="a study, or several to compare"
    )
    parser.add_argument(
        "--out", metavar="DIR", help="where to write [the study's folder; ./report of several]"
    )
    for flag, name, what in (
        ("--export", "exports", "trials, a row each"),
        ("--export-epochs", "epoch_exports", "epochs, a row a trial and epoch"),
    ):
        parser.add_argument(
            flag,
            metavar="FILE",
            action="append",
            default=[],
            dest=name,
            help=f"write the {what}, to a .csv, .parquet, .json or .md file; repeatable",
        )
    parser.add_argument("--watch", action="store_true", help="follow a study that runs")
    parser.add_argument("--top", type=_whole, default=10, metavar="N", help="trials to print [10]")
    parser.add_argument(
        "--metric",
        metavar="NAME",
        help="judge by this metric [valid_loss; of an experiment, the one that Ray's files name]",
    )
    parser.add_argument(
        "--mode",
        choices=("min", "max"),
        help="whether the least or the greatest is best [as Ray's files or the metric's name say]",
    )


def _add_doctor(commands: Any) -> None:
    parser = _add_command(
        commands,
        "doctor",
        "doctor.doctor",
        "check versions, corpus, token and cluster before a study",
        "One line per check: ok, warn or problem, and what to do. Exit code 1 if there is\n"
        "a problem.",
    )
    _add_data(parser)
    parser.add_argument(
        "--address", help="the Ray cluster to check, `auto` for this machine's [$RAY_ADDRESS]"
    )
    parser.add_argument(
        "--out", metavar="DIR|URI", help="folder or URI of a study: check that all nodes reach it"
    )


_LAUNCH_DETAILS = """\
Check a cluster's YAML, start the cluster, submit the command to its head, follow
the job, copy the study to this machine, and take everything down, verified.

Ctrl-C stops following: the job continues, and the command that resumes is
printed. Exit code: the job's; 1 if a step failed, 2 if a check failed.

examples:
  raytune-yesno launch cluster/onprem.yaml --check
  raytune-yesno launch cluster/onprem.yaml --out studies/first -- tune --trials 64
  raytune-yesno launch cluster/onprem.yaml --attach   resume after Ctrl-C or a lost head
  raytune-yesno launch cluster/onprem.yaml --down     end the cluster
  raytune-yesno launch --address http://127.0.0.1:8265 --shared /shared/studies -- tune
"""


def _add_launch(commands: Any) -> None:
    parser = _add_command(
        commands,
        "launch",
        "launch.launch",
        "run `tune` or `train` on a cluster, then copy the results here",
        _LAUNCH_DETAILS,
    )
    parser.takes_command = True
    parser.usage = "%(prog)s CLUSTER.yaml [options] -- tune|train ARGUMENT…"
    parser.add_argument("definition", nargs="?", metavar="CLUSTER.yaml")
    parser.add_argument("--check", action="store_true", help="check only; start nothing")
    parser.add_argument("--attach", action="store_true", help="resume the unfinished launch")
    parser.add_argument("--down", action="store_true", help="end the whole cluster, verified")
    parser.add_argument("--out", metavar="DIR", help="folder for the results [studies/TIME]")
    parser.add_argument("--keep", action="store_true", help="leave the cluster running")
    parser.add_argument(
        "--address", metavar="URL", help="use the cluster of this dashboard; start and end nothing"
    )
    parser.add_argument(
        "--shared", metavar="DIR", help="with --address: a folder that all its nodes reach"
    )
    parser.add_argument(
        "--wait", type=_real, default=900.0, metavar="S", help="how long nodes may take [900]"
    )


def _add_cluster(commands: Any) -> None:
    cluster = commands.add_parser(
        "cluster",
        help="start or end a cluster of several nodes on this machine",
        description="Start or end a cluster of several nodes on this machine.",
        formatter_class=_Formatter,
    )
    actions = cluster.add_subparsers(metavar="ACTION", required=True)
    up = _add_command(actions, "up", "cluster.up", "start the cluster")
    up.add_argument("nodes", type=_whole, metavar="N", help="number of nodes, head included")
    up.add_argument("--num-cpus", type=_whole, metavar="N", help="logical CPUs of each node")
    up.add_argument(
        "--object-store-memory",
        type=_whole,
        metavar="BYTES",
        help="object store of each node [200000000]",
    )
    _add_command(actions, "down", "cluster.down", "end this cluster, and no other Ray")


class _ConfigHelp(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        from raytune_yesno.config import config_help

        print(config_help())
        parser.exit()


def _raise_interrupted(signum: int, frame: object) -> None:
    for number in _STOPPING:  # a second one, be it the other, ends the process at once
        signal.signal(number, signal.SIG_DFL)
    raise Interrupted(signum)


if __name__ == "__main__":
    sys.exit(main())
