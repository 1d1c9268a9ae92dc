"""The options of ``init``."""

from typing import Any

from raytune_yesno.commands.options.parser import add_command


def add_init(commands: Any) -> None:
    """Add the command ``init``."""
    parser = add_command(commands, "init", "init.init", "write a study file with comments")
    parser.add_argument(
        "file", nargs="?", default="study.yaml", metavar="FILE", help="new file [study.yaml]"
    )
    parser.add_argument(
        "--task", metavar="NAME", default="yesno", help="yesno, sine, or file.py:Name [yesno]"
    )
    parser.add_argument("--data", metavar="yesno|synthetic|DIR", help="the data [yesno]")
