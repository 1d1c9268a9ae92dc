"""The options of ``corpus``."""

from typing import Any

from raytune_yesno.commands.options.parser import add_command, add_group, integer
from raytune_yesno.commands.options.shared import add_data


def add_corpus(commands: Any) -> None:
    """Add the command ``corpus``."""
    corpus = add_group(commands, "corpus", "download, generate, check and show corpora")
    actions = corpus.add_subparsers(metavar="ACTION", required=True)
    fetch = add_command(actions, "fetch", "corpus.fetch", "download, verify and unpack YESNO")
    fetch.add_argument("folder", nargs="?", metavar="DIR", help="output folder [the user's cache]")
    fetch.add_argument("--url", help="download the same archive from another URL")
    make = add_command(
        actions, "synthesize", "corpus.synthesize", "write the built-in corpus to a folder"
    )
    make.add_argument("folder", metavar="DIR", help="output folder")
    make.add_argument(
        "--recordings", type=integer, default=60, metavar="N", help="number of recordings [60]"
    )
    make.add_argument("--seed", type=integer, default=0, metavar="N", help="random seed [0]")
    check = add_command(
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
    add_data(check, shown="yesno")
    show = add_command(actions, "show", "corpus.show", "show one recording")
    show.add_argument(
        "number",
        type=integer,
        nargs="?",
        default=3,
        metavar="N",
        help="index of the recording [3]",
    )
    show.add_argument("folder", nargs="?", metavar="DIR", help="corpus folder, instead of --data")
    show.add_argument("--picture", metavar="PNG", help="also write the plot to a file")
    add_data(show, shown="yesno")
