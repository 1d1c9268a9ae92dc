"""The options of ``report``."""

from typing import Any

from raytune_yesno.commands.options.parser import add_command, count


def add_report(commands: Any) -> None:
    """Add the command ``report``."""
    parser = add_command(
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
        "--top", type=count, default=10, metavar="N", help="number of trials to print [10]"
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
