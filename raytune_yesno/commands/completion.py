"""The command ``completion``: print the script that completes commands and options in a shell."""

from argparse import Namespace
from typing import Any, TextIO


def completion(options: Namespace, results: TextIO) -> dict[str, Any]:
    """Print the script; return it as the JSON object."""
    import shtab

    from raytune_yesno.cli import build_parser

    script = shtab.complete(build_parser(), shell=options.shell)
    if not options.json:
        print(script, file=results, flush=True)
    return {"shell": options.shell, "script": script}
