"""Registries of objects by name: built in, in a module, in a file, or in a package."""

import importlib
import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Any, get_args, get_origin

from raytune_yesno.errors import InputError, suggest_name
from raytune_yesno.user_code import (
    Code,
    describe_error,
    gather_beside,
    gather_sources,
    import_file,
    import_own,
)
from raytune_yesno.values import KIND_NAMES, convert


class Registry(Mapping[str, str]):
    """A registry of objects by name. An object is imported on first use.

    A name is one of:

    * a built-in name, such as ``yesno``;
    * ``package.module:Name``;
    * ``path/to/file.py:Name``, the user's own code;
    * the name of an entry point of an installed package, in the group ``raytune_yesno.<kind>s``.

    Example:
        >>> from raytune_yesno.registry import Registry
        >>> codecs = Registry("codec", {"json": "json:dumps"})
        >>> codecs.find("json")([1, 2])
        '[1, 2]'
        >>> codecs.trust("pickle:dumps")
        >>> codecs.find("pickle:dumps").__name__
        'dumps'

    Args:
        kind: what the registry contains, for messages: ``task``, ``search``.
        built_in: ``module:Name`` by built-in name.
    """

    def __init__(self, kind: str, built_in: Mapping[str, str]) -> None:
        self.kind, self.group = kind, f"raytune_yesno.{kind}s"
        self._built_in = dict(built_in)
        self._trusted: set[str] = set()
        self._values: dict[str, Any] = {}
        self._modules: dict[str, ModuleType] = {}
        self.received: set[str] = set()  # names whose code a driver has sent to this process
        self._sent: dict[str, str] = {}  # modules by name, in a worker

    def trust(self, name: str) -> None:
        """Allow a name outside the project to be imported.

        Call this only for names that the user gives: on the command line, in Python, or in a
        config that a driver sends to its own workers; never for a name from a study's record.
        """
        self._trusted.add(name)

    def _import_source(self, name: str, source: str) -> ModuleType:
        if name in self._sent:
            return import_own(self._sent[name], source)
        return import_file(Path(source)) if source.endswith(".py") else _import_module(source)

    def put(self, name: str, value: Any) -> None:
        """Register an object that the user gives in Python."""
        self._values[name] = value

    def pack(self, name: str) -> Code | None:
        """Return the code of a name that was found, to send to workers; None if it is installed."""
        if name in self._values:
            return Code(name, "", gather_beside(self._values[name]), self._values[name])
        module = self._modules.get(name)
        sources = gather_sources(module) if module else {}
        return Code(name, module.__name__, sources) if module and sources else None

    def unpack(self, code: Code) -> None:
        """Accept code that a driver sent to its own worker."""
        self.trust(code.name)
        self.received.add(code.name)
        if code.value is not None:
            self.put(code.name, code.value)
        else:
            self._sent[code.name] = code.module

    def __getitem__(self, name: str) -> str:
        return self._built_in[name]

    def __iter__(self) -> Any:
        return iter(self._built_in)

    def __len__(self) -> int:
        return len(self._built_in)

    def find(self, name: str) -> Any:
        """Import and return the object of a name.

        Raises:
            InputError: the name is unknown, not trusted, or cannot be imported.
        """
        if name in self._built_in:
            return import_name(self._built_in[name])
        if name in self._values:
            return self._values[name]
        source, colon, attribute = name.rpartition(":")
        if colon and attribute.isidentifier():
            trusted = [name] if name in self._trusted else []
            trusted += [each for each in self._trusted if is_same_code(each, name)]
            if not trusted and source == "__main__":
                raise InputError(
                    f"{self.kind} {name!r} was given in Python; continue from there, with the same "
                    "call of raytune_yesno.tune"
                )
            if not trusted:
                raise InputError(
                    f"{self.kind} {name!r} is code outside the project, which runs only if this "
                    f"command names it: add --{self.kind} {name}"
                )
            source = trusted[0].rpartition(":")[0]
            found = self._modules[name] = self._import_source(name, source)
            if not hasattr(found, attribute):
                known = [key for key in vars(found) if not key.startswith("_")]
                hint = suggest_name(attribute, known)
                raise InputError(f"{source}: it has no {attribute!r}; {hint}")
            return getattr(found, attribute)
        installed = {entry.name: entry for entry in entry_points(group=self.group)}
        if name in installed:
            try:
                return installed[name].load()
            except (Exception, SystemExit) as error:
                raise InputError(
                    f"{self.kind} {name!r} of an installed package cannot be imported: "
                    f"{describe_error(error)[0]}"
                ) from error
        if name.endswith(".py"):
            raise InputError(
                f"{self.kind} {name!r}: also name the class or function in it, as in {name}:Name"
            )
        hint = suggest_name(name, [*self._built_in, *installed]).removesuffix("?")
        raise InputError(f"unknown {self.kind} {name!r}; {hint}, or your own as file.py:Name")


def is_same_code(one: str, other: str) -> bool:
    """Return whether two names mean the same object of the same file, perhaps in another folder.

    A study records the name as it was given; from another folder the user gives another path.

    Example:
        >>> is_same_code("task.py:Mine", "../tasks/task.py:Mine")
        True
        >>> is_same_code("task.py:Mine", "task.py:Other")
        False
    """
    files = [Path(name.rpartition(":")[0]).name for name in (one, other)]
    attributes = {name.rpartition(":")[2] for name in (one, other)}
    return files[0] == files[1] and files[0].endswith(".py") and len(attributes) == 1


def import_name(spec: str) -> Any:
    """Import ``module:name`` and return the object."""
    module, _, attribute = spec.partition(":")
    return getattr(importlib.import_module(module), attribute)


def _import_module(name: str) -> ModuleType:
    try:
        return import_own(name, name)
    except InputError as error:
        cause = error.__cause__
        missing = cause.name if isinstance(cause, ModuleNotFoundError) else None
        if missing and (name == missing or name.startswith(f"{missing}.")):
            here = Path(*name.split("."))
            is_here = here.is_dir() or here.with_suffix(".py").is_file()
            todo = "put this folder in PYTHONPATH" if is_here else "install it or correct the name"
            raise InputError(f"{name}: the module is not installed; {todo}") from None
        raise


def check_at_least(least: float, **options: float | None) -> None:
    """Check options that have a least value; None is valid.

    Raises:
        InputError: one is less.
    """
    for name, value in options.items():
        if value is not None and not value >= least:
            raise InputError(f"{name}: {value} must be at least {least}")


def check_options(
    where: str,
    factory: Callable[..., Any],
    options: Mapping[str, Any],
    *,
    reserved: Collection[str],
) -> dict[str, Any]:
    """Check options against a factory's parameters, and convert them to the annotated types.

    Args:
        where: what the options belong to, for error messages.
        factory: a callable whose parameters are annotated.
        options: values by name.
        reserved: parameters that are not options, because the caller sets them.

    Returns:
        The options, converted to the annotated types.

    Raises:
        InputError: an option is unknown, or its value has another type.
    """
    parameters = inspect.signature(factory, eval_str=True).parameters
    checked = dict(options)
    known = [name for name in parameters if name not in reserved]
    for option, value in options.items():
        if option not in known:
            hint = suggest_name(str(option), known) if known else "there are no options"
            raise InputError(f"{where}: no option {option!r}; {hint}")
        annotation = parameters[option].annotation
        optional = type(None) in get_args(annotation)
        kind = get_args(annotation)[0] if optional else annotation
        kind = get_origin(kind) or kind
        kind = {Sequence: list, Mapping: dict}.get(kind, kind)
        if kind in KIND_NAMES and not (value is None and optional):
            checked[option] = convert(option, kind, value, where)
    return checked
