"""The options of ``doctor``."""

from typing import Any

from raytune_yesno.commands.options.parser import add_command
from raytune_yesno.commands.options.shared import add_data


def add_doctor(commands: Any) -> None:
    """Add the command ``doctor``."""
    parser = add_command(
        commands,
        "doctor",
        "doctor.doctor",
        "check machine, versions, corpus, token and cluster before a study",
        "Prints one line per check: ok, warn or problem, and what to do. The exit code is\n"
        "1 if there is a problem.",
    )
    parser.add_argument(
        "--task",
        metavar="NAME",
        help="check your own class or function, file.py:Name, and its data",
    )
    add_data(parser, shown="yesno")
    parser.add_argument(
        "--address", help="Ray cluster to check; auto: the one on this machine [$RAY_ADDRESS]"
    )
    parser.add_argument(
        "--out", metavar="DIR|URI", help="folder or URI of a study: check that all nodes reach it"
    )
