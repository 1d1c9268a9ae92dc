"""Options that several commands share."""

from typing import Any

from raytune_yesno.commands.options.parser import integer


def add_data(parser: Any, shown: str | None = None) -> None:
    """Add ``--data`` and ``--skip-bad``; help shows the default as ``shown``."""
    parser.add_argument(
        "--data",
        metavar="yesno|synthetic|DIR",
        help="the data: YESNO ($YESNO_ROOT, the user's cache, or a download), the built-in "
        "synthetic[:N[:SEED]], or a folder" + (f" [{shown}]" if shown else ""),
    )
    parser.add_argument(
        "--skip-bad",
        action="store_true",
        help="leave out bad recordings instead of refusing the corpus",
    )


def add_run_options(parser: Any) -> None:
    """Add the options of ``train`` and ``tune``."""
    work = parser.add_argument_group("task, data and config")
    add_data(work)
    work.add_argument(
        "--task",
        metavar="NAME",
        help="yesno, sine, or your own class or function: file.py:Name [yesno]",
    )
    work.add_argument(
        "--metric", metavar="NAME", help="metric to optimise, by name or label [the task's own]"
    )
    work.add_argument(
        "--mode", choices=("min", "max"), help="whether the metric is minimised or maximised"
    )
    work.add_argument("--config", metavar="FILE", help="read settings from a YAML file")
    work.add_argument(
        "--set",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        dest="assignments",
        help="set one config key; repeatable (`train --help-config` lists them)",
    )
    work.add_argument("--epochs", type=integer, metavar="N", help="short for --set epochs=N")
    work.add_argument("--seed", type=integer, metavar="N", help="short for --set seed=N")
    output = parser.add_argument_group("output")
    output.add_argument(
        "--out",
        metavar="DIR",
        help="output folder or URI; work there with the same settings is resumed "
        "[a new folder, named by the time]",
    )
    output.add_argument(
        "--fresh",
        action="store_true",
        help="start again in --out; earlier work there is renamed to DIR-1",
    )
    output.add_argument("--quiet", action="store_true", help="show no progress")
    cluster = parser.add_argument_group("cluster")
    cluster.add_argument(
        "--use-gpu", action="store_true", default=None, help="give every worker a GPU"
    )
    cluster.add_argument(
        "--address",
        help="Ray cluster to use; auto: the one on this machine [$RAY_ADDRESS, or a new one]",
    )
    cluster.add_argument(
        "--num-cpus", type=integer, metavar="N", help="logical CPUs of a new cluster"
    )
    cluster.add_argument(
        "--num-gpus", type=integer, metavar="N", help="logical GPUs of a new cluster"
    )
