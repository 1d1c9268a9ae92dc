"""The parser of the command line. :mod:`raytune_yesno.commands` implements the commands.

Exit codes: 0 done, 1 the work failed, 2 bad usage, config or input, 130 interrupted, 141 standard
output was closed by its reader, 143 terminated.
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
    clear_progress,
    flushed_stdout,
    open_closed_streams,
    result_stream,
    tolerant_stderr,
)
from raytune_yesno.errors import InputError, Interrupted, WorkError, find_nearest, one_line
from raytune_yesno.files.json_text import dump_json
from raytune_yesno.home import ensure_home
from raytune_yesno.numerals import read_number
from raytune_yesno.study_settings import STUDY_SETTINGS, StudySetting

# Errors of a path that cannot exist or that the user may not access.
_BAD_PATH = (errno.ENAMETOOLONG, errno.EACCES, errno.ELOOP)

_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)

Command = Callable[[argparse.Namespace, TextIO], dict[str, Any]]

_EPILOG = """\
examples:
  raytune-yesno tune --data synthetic         a study on the built-in corpus
  raytune-yesno tune --task file.py:Name      a study of your own task
  raytune-yesno train --num-workers 2         one data-parallel run on YESNO
  raytune-yesno evaluate STUDY/refit/last     word error rate on the test part
  raytune-yesno predict STUDY/refit/last recording.wav
"""


def _integer(text: str) -> int:
    return read_number(text, int)


def _number(text: str) -> float:
    return read_number(text, float)


# argparse uses the names in its messages: "invalid whole number value: 'many'".
_integer.__name__, _number.__name__ = "whole number", "number"


class _Parser(argparse.ArgumentParser):
    takes_command = False
    """Whether words after ``--`` are another command, stored unparsed as ``command``."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        if not self.takes_command:
            options, unknown = super().parse_known_args(args, namespace)
            if unknown and self.get_default("run"):  # otherwise the top parser would name its own
                self._refuse(unknown)
            return options, unknown
        words = list(args)
        end = words.index("--") if "--" in words else len(words)
        options, unknown = super().parse_known_args(words[:end], namespace)
        options.command = words[end + 1 :]
        if unknown:
            self._refuse(unknown)
        return options, unknown

    def _refuse(self, unknown: list[str]) -> NoReturn:
        flag = unknown[0].partition("=")[0]
        known = [name for name in self._option_string_actions if name.startswith("--")]
        nearest = find_nearest(flag, known) if flag.startswith("--") else None
        hint = f"; did you mean {nearest}?" if nearest else ""
        self.error(f"unrecognized arguments: {' '.join(unknown)}{hint}")

    def error(self, message: str) -> NoReturn:
        """Print the error in one line, without argparse's usage, and exit."""
        self.exit(
            2, f"raytune-yesno: {one_line(message)} (`{self.prog} --help` lists the options)\n"
        )


class _Formatter(argparse.RawDescriptionHelpFormatter):
    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=30, width=80)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code."""
    open_closed_streams()
    ensure_home()
    # The networks are small: on a busy machine, threads that spin while they wait make training ten
    # times slower. OpenMP reads this when torch is imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    debug = False
    with tolerant_stderr():
        try:
            with flushed_stdout():  # argparse prints help and version to it
                options = build_parser().parse_args(arguments)
            debug = options.debug
            with result_stream() as results:
                return _run(options, results)
        except Interrupted as stop:
            hint = f"; progress is saved, resume with: {stop.resume}" if stop.resume else ""
            print(f"\nstopped{hint}", file=sys.stderr)
            return 128 + stop.signum
        except ReaderGone:
            return 128 + signal.SIGPIPE
        except (InputError, WorkError) as error:
            if debug:
                raise
            clear_progress()
            print(f"raytune-yesno: {error}", file=sys.stderr)
            return 2 if isinstance(error, InputError) else 1
        except Exception as error:
            if debug:
                raise
            clear_progress()
            if isinstance(error, OSError) and error.errno in _BAD_PATH and error.filename:
                path = one_line(str(error.filename))
                print(f"raytune-yesno: {path}: {error.strerror}", file=sys.stderr)
                return 2
            reason = one_line(f"{type(error).__name__}: {error}".splitlines()[0])
            print(f"raytune-yesno: {reason} (--debug shows the traceback)", file=sys.stderr)
            return 1


def _run(options: argparse.Namespace, results: TextIO) -> int:
    # SIGTERM ends the work as Ctrl-C does: progress is already saved.
    for number in _STOP_SIGNALS:
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
        description="Tune and train PyTorch models on a Ray cluster. The default task is a\n"
        "recogniser of spoken yes and no; --task runs your own.",
        epilog=_EPILOG,
        formatter_class=_Formatter,
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    _add_corpus(commands)
    _add_train(commands)
    _add_tune(commands)
    _add_study(commands)
    _add_evaluate(commands)
    _add_predict(commands)
    _add_export(commands)
    _add_report(commands)
    _add_doctor(commands)
    _add_init(commands)
    _add_completion(commands, parser)
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
    parser.add_argument("--json", action="store_true", help="print the result as one JSON object")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    return parser


def _add_data(parser: Any, default: str | None = "yesno", shown: str | None = None) -> None:
    shown = shown or default
    parser.add_argument(
        "--data",
        metavar="yesno|synthetic|DIR",
        default=default,
        help="the data: YESNO ($YESNO_ROOT, the user's cache, or a download), the built-in "
        "synthetic[:N[:SEED]], or a folder" + (f" [{shown}]" if shown else ""),
    )
    parser.add_argument(
        "--skip-bad",
        action="store_true",
        help="leave out bad recordings instead of refusing the corpus",
    )


def _add_run_options(parser: Any) -> None:
    _add_data(parser, default=None)
    parser.add_argument("--config", metavar="FILE", help="read settings from a YAML file")
    parser.add_argument(
        "--set",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        dest="assignments",
        help="set one config key; repeatable (`train --help-config` lists them)",
    )
    parser.add_argument(
        "--task",
        metavar="NAME",
        help="yesno, sine, or your own class or function: file.py:Name [yesno]",
    )
    parser.add_argument(
        "--metric", metavar="NAME", help="metric to optimise, by name or label [the task's own]"
    )
    parser.add_argument(
        "--mode", choices=("min", "max"), help="whether the metric is minimised or maximised"
    )
    parser.add_argument("--epochs", type=_integer, metavar="N", help="short for --set epochs=N")
    parser.add_argument("--seed", type=_integer, metavar="N", help="short for --set seed=N")
    parser.add_argument(
        "--use-gpu", action="store_true", default=None, help="give every worker a GPU"
    )
    parser.add_argument(
        "--out",
        metavar="DIR",
        help="output folder or URI; work there with the same settings is resumed "
        "[a new folder, named by the time]",
    )
    parser.add_argument(
        "--fresh",
        action="store_true",
        help="start again in --out; earlier work there is renamed to DIR-1",
    )
    parser.add_argument(
        "--address",
        help="Ray cluster to use; auto: the one on this machine [$RAY_ADDRESS, or a new one]",
    )
    parser.add_argument(
        "--num-cpus", type=_integer, metavar="N", help="logical CPUs of a new cluster"
    )
    parser.add_argument(
        "--num-gpus", type=_integer, metavar="N", help="logical GPUs of a new cluster"
    )
    parser.add_argument("--quiet", action="store_true", help="show no progress")


def _add_corpus(commands: Any) -> None:
    corpus = commands.add_parser(
        "corpus",
        help="download, generate, check and show corpora",
        description="Download, generate, check and show corpora.",
        formatter_class=_Formatter,
    )
    actions = corpus.add_subparsers(metavar="ACTION", required=True)
    fetch = _add_command(actions, "fetch", "corpus.fetch", "download, verify and unpack YESNO")
    fetch.add_argument("folder", nargs="?", metavar="DIR", help="output folder [the user's cache]")
    fetch.add_argument("--url", help="download the same archive from another URL")
    make = _add_command(
        actions, "synthesize", "corpus.synthesize", "write the built-in corpus to a folder"
    )
    make.add_argument("folder", metavar="DIR", help="output folder")
    make.add_argument(
        "--recordings", type=_integer, default=60, metavar="N", help="number of recordings [60]"
    )
    make.add_argument("--seed", type=_integer, default=0, metavar="N", help="random seed [0]")
    check = _add_command(
        actions,
        "check",
        "corpus.check",
        "list the problems of a corpus",
        "Prints the layout, words, speakers and parts, and every problem with its file.\n"
        "The exit code is 2 if `train` would refuse the corpus.",
    )
    check.add_argument("folder", nargs="?", metavar="DIR", help="corpus folder, instead of --data")
    check.add_argument(
        "--set",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        dest="assignments",
        help="set one config key, such as split_by=speaker; repeatable",
    )
    _add_data(check)
    show = _add_command(actions, "show", "corpus.show", "show one recording")
    show.add_argument(
        "number",
        type=_integer,
        nargs="?",
        default=3,
        metavar="N",
        help="index of the recording [3]",
    )
    show.add_argument("folder", nargs="?", metavar="DIR", help="corpus folder, instead of --data")
    show.add_argument("--picture", metavar="PNG", help="also write the plot to a file")
    _add_data(show)


def _add_train(commands: Any) -> None:
    parser = _add_command(
        commands,
        "train",
        "train.train",
        "train one model",
        "Training is data-parallel on a Ray cluster. The number of workers changes the\n"
        "speed, not the result.",
    )
    _add_run_options(parser)
    parser.add_argument(
        "--num-workers",
        metavar="N|LOW:HIGH",
        help="data-parallel workers [1]; 0: train in this process; 1:4: elastic, 1 to 4",
    )
    parser.add_argument("--resume", metavar="DIR", help="resume the run in a folder")
    parser.add_argument(
        "--help-config", action=_ConfigHelp, nargs=0, help="list the config keys and exit"
    )


def _add_tune(commands: Any) -> None:
    parser = _add_command(
        commands,
        "tune",
        "tune.tune",
        "search for the best config, refit it, test it once",
        "Trials run in parallel on a Ray cluster. The best config is selected on the\n"
        "validation part and trained again on the training and validation parts. The\n"
        "test part is read once, at the end.",
    )
    _add_run_options(parser)
    parser.add_argument(
        "--objective",
        metavar="NAME",
        action="append",
        dest="objectives",
        help="a metric to optimise beside others, such as valid_wer or num_parameters; repeatable, "
        "in place of --metric; NAME:max sets its direction",
    )
    parser.add_argument(
        "--limit",
        metavar="NAME<=X",
        action="append",
        dest="limits",
        help="a bound that the result must keep, such as num_parameters<=20000 or accuracy>=0.9; "
        "repeatable",
    )
    for setting in STUDY_SETTINGS:
        _add_setting(parser, setting)
    parser.add_argument(
        "--point",
        metavar="KEY=VALUE,…",
        action="append",
        help="a point to try first, such as learning_rate=1e-3,hidden_units=64; repeatable; "
        "without --search, only these points are tried",
    )
    parser.add_argument(
        "--space",
        metavar="FILE",
        help="read the search space from a YAML file; with --resume: replace the space",
    )
    parser.add_argument(
        "--workers-per-trial",
        type=_integer,
        metavar="N",
        help="data-parallel workers per trial [1]",
    )
    parser.add_argument(
        "--resume", metavar="STUDY", help="resume an interrupted study, a folder or URI"
    )
    parser.add_argument(
        "--add-trials",
        type=_integer,
        metavar="N",
        help="with --resume: run N more trials, then refit again; works for finished studies",
    )
    parser.add_argument(
        "--retry",
        metavar="failed|N,…",
        help="with --resume: train failed, diverged or stopped trials again",
    )
    parser.add_argument(
        "--top",
        type=_integer,
        metavar="K",
        help="with --resume and --epochs N: continue only the best K finished trials up to epoch N",
    )
    parser.add_argument(
        "--replay",
        nargs=2,
        metavar=("STUDY", "TRIAL"),
        help="no search: train one trial of a study again and compare its metrics",
    )
    parser.add_argument(
        "--warm-start",
        nargs="+",
        metavar="STUDY",
        help="start the search with the results of other studies",
    )
    parser.add_argument(
        "--checkpoint-every",
        type=_number,
        default=10.0,
        metavar="S",
        help="save each trial every S seconds of its training: the most that a crash loses [10]",
    )
    parser.add_argument(
        "--log",
        metavar="tensorboard|mlflow=URI",
        action="append",
        default=[],
        dest="logs",
        help="also log the trials to this tool while they run; repeatable",
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="print the plan, time and disk space; run nothing"
    )
    parser.add_argument(
        "--no-report", action="store_true", help="do not write report.html at the end"
    )


_STUDY_DETAILS = """\
Requests reach the study through its folder or URI, from any machine. The
command that runs the study carries them out within seconds and records them.

examples:
  raytune-yesno study studies/first status
  raytune-yesno study studies/first stop 3           stop trial 3
  raytune-yesno study studies/first stop search      end the search, then refit
  raytune-yesno study studies/first enqueue learning_rate=1e-3,dropout=0.2
"""


def _add_study(commands: Any) -> None:
    study = commands.add_parser(
        "study",
        help="look at a running study, stop a trial or the search, add a trial",
        description=f"Look at a running study, and act on it.\n\n{_STUDY_DETAILS}",
        formatter_class=_Formatter,
    )
    study.add_argument("study", metavar="STUDY", help="a folder or URI that `tune` writes to")
    actions = study.add_subparsers(metavar="ACTION", required=True)
    for action, help in (
        ("status", "print who runs the study, its trials and its requests"),
        ("stop", "stop a trial, or the search"),
        ("enqueue", "add a trial of a given point"),
    ):
        parser = _add_command(actions, action, "study.study", help)
        parser.set_defaults(action=action)
        if action == "stop":
            parser.add_argument(
                "target",
                metavar="TRIAL|search",
                help="number of the trial, or search to end the search",
            )
        elif action == "enqueue":
            parser.add_argument(
                "point",
                metavar="KEY=VALUE,…",
                help="a value for each searched key; missing ones are as in the config",
            )


def _add_setting(parser: Any, setting: StudySetting) -> None:
    """Add the flag of a setting of studies, if it has one."""
    if not setting.help:
        return
    flag = "--" + setting.name.replace("_", "-")
    if setting.kind is bool:
        parser.add_argument(flag, action="store_true", default=None, help=setting.help)
    else:
        kind = {int: _integer, float: _number}.get(setting.kind, str)
        parser.add_argument(flag, type=kind, metavar=setting.metavar, help=setting.help)


def _add_evaluate(commands: Any) -> None:
    parser = _add_command(
        commands,
        "evaluate",
        "recognize.evaluate",
        "measure the word error rate of a checkpoint in many conditions",
        "Conditions that training never used are reported separately. False alarms,\n"
        "calibration and cost are measured too. Every rate has a 95 % interval.",
    )
    parser.add_argument("checkpoint", metavar="CHECKPOINT", help="folder or URI of a checkpoint")
    _add_data(parser, default=None, shown="the checkpoint's own corpus")
    parser.add_argument(
        "--split",
        choices=("train", "valid", "test", "all"),
        default="test",
        help="part of the corpus, split as for the checkpoint's training [test]",
    )
    parser.add_argument(
        "--conditions",
        metavar="NAME,…",
        default="all",
        help="all, none, noise (white, pink, babble), new (all others), or a list of kinds "
        "such as hum,codec,padding [all]",
    )
    parser.add_argument(
        "--wordless",
        type=_number_between(0, 36_000),
        default=60.0,
        metavar="S",
        help="seconds of each generated sound without words, to count false alarms; 0: none [60]",
    )
    _add_min_confidence(parser)
    parser.add_argument("--picture", metavar="PNG", help="plot the rates with their intervals")


def _add_predict(commands: Any) -> None:
    parser = _add_command(
        commands,
        "predict",
        "recognize.predict",
        "print the words of recordings",
        "Recordings may have any length; memory is bounded. To read from a microphone:\n"
        "  arecord -f S16_LE -r 8000 | raytune-yesno predict CHECKPOINT - --stream",
    )
    parser.add_argument("checkpoint", metavar="CHECKPOINT", help="folder or URI of a checkpoint")
    parser.add_argument("files", nargs="+", metavar="WAV", help="recordings; -: standard input")
    parser.add_argument(
        "--stream", action="store_true", help="print each word as soon as it is recognised"
    )
    parser.add_argument(
        "--raw",
        type=_integer,
        metavar="HZ",
        help="read headerless recordings: 16-bit little-endian mono samples at HZ",
    )
    _add_min_confidence(parser)


def _add_export(commands: Any) -> None:
    parser = _add_command(
        commands,
        "export",
        "recognize.export",
        "write a recogniser as one ONNX or TorchScript file",
        "The file maps a waveform of any length to log-probabilities of the words.\n"
        "It runs without this package.",
    )
    parser.add_argument("checkpoint", metavar="CHECKPOINT", help="folder or URI of a checkpoint")
    parser.add_argument(
        "--format", choices=("onnx", "torchscript"), default="onnx", help="format [onnx]"
    )
    parser.add_argument(
        "--out", metavar="FILE", help="output file [in this folder, named as CHECKPOINT]"
    )


def _add_min_confidence(parser: Any) -> None:
    parser.add_argument(
        "--min-confidence",
        type=_number_between(0, 1),
        metavar="P",
        help="omit words below this confidence; 0: keep all [chosen in training]",
    )


def _number_between(low: float, high: float) -> Callable[[str], float]:
    """Return an argparse type: a number from ``low`` to ``high``."""

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
        "print the leaderboard of studies, write a table and a web page",
        "Writes trials.csv and report.html, one file that works offline. A study is a\n"
        "folder that `tune` wrote, any Ray Tune experiment, or the URI of either.",
    )
    parser.add_argument(
        "studies", nargs="+", metavar="STUDY", help="a study, or several to compare"
    )
    parser.add_argument(
        "--out", metavar="DIR", help="output folder [the study's folder; ./report for several]"
    )
    for flag, name, what in (
        ("--export", "exports", "trials, one row each"),
        ("--export-epochs", "epoch_exports", "epochs, one row per trial and epoch"),
    ):
        parser.add_argument(
            flag,
            metavar="FILE",
            action="append",
            default=[],
            dest=name,
            help=f"write the {what}, to a .csv, .parquet, .json or .md file; repeatable",
        )
    parser.add_argument("--watch", action="store_true", help="follow a running study")
    parser.add_argument(
        "--top", type=_integer, default=10, metavar="N", help="number of trials to print [10]"
    )
    parser.add_argument(
        "--metric",
        metavar="NAME",
        help="rank by this metric [the study's own; for an experiment, as in Ray's files]",
    )
    parser.add_argument(
        "--mode",
        choices=("min", "max"),
        help="whether the metric is minimised or maximised [the study's own; for an experiment, "
        "as in Ray's files or by the metric's name]",
    )


def _add_doctor(commands: Any) -> None:
    parser = _add_command(
        commands,
        "doctor",
        "doctor.doctor",
        "check machine, versions, corpus, token and cluster before a study",
        "Prints one line per check: ok, warn or problem, and what to do. The exit code is\n"
        "1 if there is a problem.",
    )
    _add_data(parser)
    parser.add_argument(
        "--address", help="Ray cluster to check; auto: the one on this machine [$RAY_ADDRESS]"
    )
    parser.add_argument(
        "--out", metavar="DIR|URI", help="folder or URI of a study: check that all nodes reach it"
    )


def _add_init(commands: Any) -> None:
    parser = _add_command(commands, "init", "init.init", "write a study file with comments")
    parser.add_argument(
        "file", nargs="?", default="study.yaml", metavar="FILE", help="new file [study.yaml]"
    )
    parser.add_argument(
        "--task", metavar="NAME", default="yesno", help="yesno, sine, or file.py:Name [yesno]"
    )
    parser.add_argument(
        "--data", metavar="yesno|synthetic|DIR", default="yesno", help="the data [yesno]"
    )


def _add_completion(commands: Any, root: argparse.ArgumentParser) -> None:
    parser = _add_command(
        commands,
        "completion",
        "completion.completion",
        "print the completion script of a shell",
        'bash: eval "$(raytune-yesno completion bash)", for example in ~/.bashrc\n'
        "zsh:  raytune-yesno completion zsh > DIR/_raytune-yesno, DIR in $fpath\n"
        "fish: raytune-yesno completion fish > ~/.config/fish/completions/raytune-yesno.fish",
    )
    parser.add_argument("shell", choices=("bash", "zsh", "fish"))
    parser.set_defaults(parser=root)


_LAUNCH_DETAILS = """\
Check a cluster's YAML, start the cluster, submit the command to its head,
follow the job, copy the study to this machine, take everything down, and check
that nothing is left.

Ctrl-C stops following: the job continues, and the command that follows it again
is printed. Exit code: the job's; 1 if a step failed, 2 if a check failed.

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
    parser.add_argument(
        "definition",
        nargs="?",
        metavar="CLUSTER.yaml",
        help="definition of the cluster; cluster/README.md describes it",
    )
    parser.add_argument("--check", action="store_true", help="check only; start nothing")
    parser.add_argument(
        "--attach", action="store_true", help="resume a launch after Ctrl-C or a lost head node"
    )
    parser.add_argument(
        "--down", action="store_true", help="end the whole cluster and check that nothing is left"
    )
    parser.add_argument("--out", metavar="DIR", help="folder for the results [studies/TIME]")
    parser.add_argument("--keep", action="store_true", help="leave the cluster running")
    parser.add_argument(
        "--address", metavar="URL", help="use the cluster of this dashboard; start and end nothing"
    )
    parser.add_argument(
        "--shared", metavar="DIR", help="with --address: a folder that all its nodes reach"
    )
    parser.add_argument(
        "--wait", type=_number, default=900.0, metavar="S", help="seconds to wait for nodes [900]"
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
    up.add_argument("nodes", type=_integer, metavar="N", help="number of nodes, head included")
    up.add_argument("--num-cpus", type=_integer, metavar="N", help="logical CPUs of each node")
    up.add_argument(
        "--object-store-memory",
        type=_integer,
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
    for number in _STOP_SIGNALS:  # a second signal of either kind ends the process at once
        signal.signal(number, signal.SIG_DFL)
    raise Interrupted(signum)


if __name__ == "__main__":
    sys.exit(main())
