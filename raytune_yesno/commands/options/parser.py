"""The parser of every command: its errors, its help, and the types of values."""

import argparse
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

from raytune_yesno.errors import find_nearest, one_line, suggest_name
from raytune_yesno.numerals import Number, read_number


def integer(text: str) -> int:
    """Read a whole number; a type for argparse."""
    return _read(text, int, "a whole number")


def count(text: str) -> int:
    """Read a whole number of at least 1; a type for argparse."""
    value = integer(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not at least 1")
    return value


def number(text: str) -> float:
    """Read a number; a type for argparse."""
    return _read(text, float, "a number")


def _read(text: str, kind: type[Number], what: str) -> Number:
    try:
        return read_number(text, kind)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not {what}") from None


def number_between(low: float, high: float) -> Callable[[str], float]:
    """Return an argparse type: a number from ``low`` to ``high``."""
    what = f"a number from {low:g} to {high:g}"

    def read(text: str) -> float:
        value = _read(text, float, what)
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"{text!r} is not {what}")
        return value

    return read


def _is_option(text: str) -> bool:
    return text.startswith("-") and text != "-"


class Parser(argparse.ArgumentParser):
    """A parser that reports an error in one line and suggests the nearest option."""

    takes_command: Sequence[str] = ()
    """The commands that may follow ``--``: the words are stored as ``command``, the options that
    they give as ``parsed``."""
    optional_list = ""
    """Name of a list that may be empty. argparse alone takes it as empty if options stand before
    it (bpo-15112)."""
    siblings: Mapping[str, argparse.ArgumentParser] = {}
    """All commands by name, of which this is one."""

    def __init__(self, **settings: Any) -> None:
        # An abbreviation would become ambiguous, or change its meaning, with a new option.
        super().__init__(**{"allow_abbrev": False, **settings})

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse options; refuse unknown ones in the name of the command, not of the program."""
        if not self.takes_command:
            options, unknown = super().parse_known_args(args, namespace)
            if self.optional_list and unknown and not any(map(_is_option, unknown)):
                setattr(
                    options, self.optional_list, [*getattr(options, self.optional_list), *unknown]
                )
                unknown = []
            if unknown and self.get_default("run"):  # otherwise the top parser would name its own
                self._refuse(unknown)
            return options, unknown
        words = list(args)
        end = words.index("--") if "--" in words else len(words)
        options, unknown = super().parse_known_args(words[:end], namespace)
        options.command = words[end + 1 :]
        if unknown:
            self._refuse(unknown)
        name, *others = options.command or [""]
        options.parsed = (
            self.siblings[name].parse_args(others) if name in self.takes_command else None
        )
        return options, unknown

    def _refuse(self, unknown: list[str]) -> NoReturn:
        flag = unknown[0].partition("=")[0]
        nearest = find_nearest(flag, list_flags(self)) if flag.startswith("--") else None
        hint = f"; did you mean {nearest}?" if nearest else ""
        others = [name for name, parser in self.siblings.items() if flag in list_flags(parser)]
        if others:
            hint += f"; {flag} is an option of {' and '.join(f'`{name}`' for name in others)}"
        elif self.takes_command and not flag.startswith("-"):
            hint = "; write -- before the command to run"
        self.error(f"unrecognized arguments: {' '.join(unknown)}{hint}")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            hint = suggest_name(str(value), action.choices)
            raise argparse.ArgumentError(action, f"{value!r} is not one of its values; {hint}")

    def error(self, message: str) -> NoReturn:
        """Print the error in one line, without argparse's usage, and exit."""
        self.exit(
            2, f"raytune-yesno: {one_line(message)} (`{self.prog} --help` lists the options)\n"
        )


def list_flags(parser: argparse.ArgumentParser) -> list[str]:
    """Return the flags of a command, such as ``--out``."""
    flags = parser._option_string_actions  # noqa: SLF001 (argparse has no public list)
    return [name for name in flags if name.startswith("--")]


class Formatter(argparse.RawDescriptionHelpFormatter):
    """Help in 80 columns, with line breaks as written."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=30, width=80)


def add_group(commands: Any, name: str, help: str, description: str = "") -> Any:
    """Add a command that has actions, and return its parser.

    Args:
        commands: the subparsers of the program.
        name: the name of the command.
        help: the line in the help of the program.
        description: the beginning of the command's own help; ``help`` as a sentence by default.
    """
    return commands.add_parser(
        name,
        help=help,
        description=description or f"{help[0].upper()}{help[1:]}.",
        formatter_class=Formatter,
    )


def add_command(commands: Any, name: str, run: str, help: str, details: str = "") -> Any:
    """Add a command, or an action of one, with the options that all have.

    Args:
        commands: the subparsers of the program, or of a command with actions.
        name: the name of the command.
        run: what runs it: the module in :mod:`raytune_yesno.commands`, a dot, the function.
        help: the line in the help of the program.
        details: further lines in the command's own help.

    Returns:
        Its parser.
    """
    parser = commands.add_parser(
        name,
        help=help,
        description=help + (f"\n\n{details}" if details else ""),
        formatter_class=Formatter,
    )
    parser.siblings = commands.choices
    parser.set_defaults(run=run)
    parser.add_argument("--json", action="store_true", help="print the result as one JSON object")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    return parser
