"""The options of ``tune``."""

from typing import Any

from raytune_yesno.commands.options.parser import add_command, count, integer, number
from raytune_yesno.commands.options.shared import add_run_options
from raytune_yesno.study_settings import CHECKPOINT_EVERY_S, STUDY_SETTINGS, StudySetting


def add_tune(commands: Any) -> None:
    """Add the command ``tune``."""
    parser = add_command(
        commands,
        "tune",
        "tune.tune",
        "search for the best config, refit it, test it once",
        "Trials run in parallel on a Ray cluster. The best config is selected on the\n"
        "validation part and trained again on the training and validation parts. The\n"
        "test part is read once, at the end.",
    )
    add_run_options(parser)
    study = parser.add_argument_group("study")
    study.add_argument(
        "--objective",
        metavar="NAME",
        action="append",
        dest="objectives",
        help="a metric to optimise beside others, such as valid_wer or num_parameters; repeatable, "
        "in place of --metric; NAME:max sets its direction",
    )
    study.add_argument(
        "--limit",
        metavar="NAME<=X",
        action="append",
        dest="limits",
        help="a bound that the result must keep, such as num_parameters<=20000 or accuracy>=0.9; "
        "repeatable",
    )
    study.add_argument(
        "--space",
        metavar="FILE",
        help="read the search space from a YAML file (docs/spaces.md); with --resume: replace it",
    )
    study.add_argument(
        "--point",
        metavar="KEY=VALUE,…",
        action="append",
        help="a point to try first, such as learning_rate=1e-3,hidden_units=64, or `default` for "
        "the task's own settings; repeatable; "
        "the search follows with --search, or --trials above the number of points",
    )
    for setting in STUDY_SETTINGS:
        _add_setting(study, setting)
    study.add_argument(
        "--workers-per-trial",
        type=integer,
        metavar="N",
        help="data-parallel workers per trial [1]",
    )
    study.add_argument(
        "--warm-start",
        nargs="+",
        metavar="STUDY",
        help="start the search with the results of other studies",
    )
    change = parser.add_argument_group("resume, extend and replay")
    change.add_argument(
        "--resume", metavar="STUDY", help="resume an interrupted study, a folder or URI"
    )
    change.add_argument(
        "--add-trials",
        type=integer,
        metavar="N",
        help="with --resume: run N more trials, then refit again; works for finished studies",
    )
    change.add_argument(
        "--retry",
        metavar="failed|N,…",
        help="with --resume: train failed, diverged or stopped trials again",
    )
    change.add_argument(
        "--top",
        type=count,
        metavar="K",
        help="with --resume and --epochs N: continue only the best K finished trials up to epoch N",
    )
    change.add_argument(
        "--replay",
        nargs=2,
        metavar=("STUDY", "TRIAL"),
        help="no search: train one trial of a study again and compare its metrics",
    )
    change.add_argument(
        "--checkpoint-every",
        type=number,
        metavar="S",
        help="save each trial every S seconds of its training: the most that a crash loses "
        f"[{CHECKPOINT_EVERY_S:g}]",
    )
    report = parser.add_argument_group("plan, report and logs")
    report.add_argument(
        "--dry-run",
        action="store_true",
        help="print the plan, time and disk space; train one epoch only",
    )
    report.add_argument(
        "--no-report", action="store_true", help="do not write report.html at the end"
    )
    report.add_argument(
        "--log",
        metavar="tensorboard|mlflow=URI",
        action="append",
        default=[],
        dest="logs",
        help="also log the trials to this tool while they run; repeatable",
    )


def _add_setting(parser: Any, setting: StudySetting) -> None:
    """Add the flag of a setting of studies, if it has one."""
    if not setting.help:
        return
    flag = "--" + setting.name.replace("_", "-")
    if setting.kind is bool:
        parser.add_argument(flag, action="store_true", default=None, help=setting.help)
    else:
        kind = {int: integer, float: number}.get(setting.kind, str)
        parser.add_argument(flag, type=kind, metavar=setting.metavar, help=setting.help)
