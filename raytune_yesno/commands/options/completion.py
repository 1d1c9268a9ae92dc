"""The options of ``completion``."""

import argparse
from typing import Any

from raytune_yesno.commands.options.parser import add_command


def add_completion(commands: Any, root: argparse.ArgumentParser) -> None:
    """Add the command ``completion``."""
    parser = add_command(
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
