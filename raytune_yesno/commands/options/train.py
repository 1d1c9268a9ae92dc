"""The options of ``train``."""

from typing import Any

from raytune_yesno.commands.options.parser import add_command
from raytune_yesno.commands.options.shared import add_run_options


def add_train(commands: Any) -> None:
    """Add the command ``train``."""
    parser = add_command(
        commands,
        "train",
        "train.train",
        "train one model",
        "Training is data-parallel on a Ray cluster. The number of workers changes the\n"
        "speed, not the result.",
    )
    add_run_options(parser)
    parser.add_argument(
        "--num-workers",
        metavar="N|LOW:HIGH",
        help="data-parallel workers [1]; 0: train in this process; 1:4: elastic, 1 to 4",
    )
    parser.add_argument("--resume", metavar="DIR", help="resume the run in a folder")
    parser.add_argument(
        "--help-config", action="store_true", help="list the config keys of the task and exit"
    )
