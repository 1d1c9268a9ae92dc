"""The command ``completion``: print the script that completes commands and options in a shell."""

from argparse import Namespace
from typing import Any

from raytune_yesno.commands.display import Printer


def completion(options: Namespace, say: Printer) -> dict[str, Any]:
    """Print the script for the parser ``options.parser``; return it as the JSON object."""
    import shtab

    script = shtab.complete(options.parser, shell=options.shell)
    if not options.json:
        print(script, file=say.stream, flush=True)
    return {"shell": options.shell, "script": script}
