"""Tasks by name: built in, in a module, in a file, or in a package; and which of them may run.

Searches, schedulers and trackers are the project's own and have plain tables of their names. Only
tasks may be a user's code, which is imported if the user names it, and sent to the workers.
"""

from collections.abc import Iterator, Mapping
from importlib.metadata import entry_points
from pathlib import Path
from pkgutil import resolve_name
from types import ModuleType
from typing import Any

from raytune_yesno.errors import InputError, quote, suggest_name
from raytune_yesno.user_code import (
    Code,
    describe_error,
    gather_beside,
    gather_sources,
    import_file,
    import_own,
)

_ENTRY_POINTS = "raytune_yesno.tasks"


class TaskRegistry(Mapping[str, str]):
    """Finds classes and functions by name. They are imported on first use.

    As a mapping, it contains the built-in tasks.

    A name is one of:

    * a built-in name, such as ``yesno``;
    * ``package.module:Name``;
    * ``path/to/file.py:Name``, the user's own code;
    * the name of an entry point of an installed package, in the group ``raytune_yesno.tasks``.

    Example:
        >>> from raytune_yesno.task_registry import TaskRegistry
        >>> tasks = TaskRegistry({"root": "math:sqrt"})
        >>> tasks.find("root")(9)
        3.0
        >>> tasks.trust("math:floor")
        >>> tasks.find("math:floor")(9.5)
        9

    Args:
        built_in: ``module:Name`` by built-in name.
    """

    def __init__(self, built_in: Mapping[str, str]) -> None:
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

    def __iter__(self) -> Iterator[str]:
        return iter(self._built_in)

    def __len__(self) -> int:
        return len(self._built_in)

    def find(self, name: str) -> Any:
        """Import and return the object of a name.

        Raises:
            InputError: the name is unknown, not trusted, or cannot be imported.
        """
        if name in self._built_in:
            return resolve_name(self._built_in[name])
        if name in self._values:
            return self._values[name]
        source, colon, attribute = name.rpartition(":")
        if colon and attribute.isidentifier():
            return self._find_own(name, source, attribute)
        installed = {entry.name: entry for entry in entry_points(group=_ENTRY_POINTS)}
        if name in installed:
            try:
                return installed[name].load()
            except (Exception, SystemExit) as error:
                raise InputError(
                    f"task {name!r} of an installed package cannot be imported: "
                    f"{describe_error(error)[0]}"
                ) from error
        if name.endswith(".py"):
            raise InputError(
                f"task {name!r}: also name the class or function in it, as in {name}:Name"
            )
        hint = suggest_name(name, [*self._built_in, *installed]).removesuffix("?")
        raise InputError(f"unknown task {name!r}; {hint}, or your own as file.py:Name")

    def _find_own(self, name: str, source: str, attribute: str) -> Any:
        """Return an attribute of a file or module outside the project, if the name is trusted."""
        trusted = [name] if name in self._trusted else []
        trusted += [each for each in self._trusted if is_same_code(each, name)]
        if not trusted and source == "__main__":
            raise InputError(
                f"task {name!r} was given in Python; continue from there, with the same call of "
                "raytune_yesno.tune"
            )
        if not trusted:
            raise InputError(
                f"task {name!r} is code outside the project, which runs only if this command "
                f"names it: add --task {name}"
            )
        source = trusted[0].rpartition(":")[0]
        found = self._modules[name] = self._import_source(name, source)
        if not hasattr(found, attribute):
            known = [key for key in vars(found) if not key.startswith("_")]
            hint = suggest_name(attribute, known)
            raise InputError(f"{source}: it has no {attribute!r}; {hint}")
        return getattr(found, attribute)

    def _import_source(self, name: str, source: str) -> ModuleType:
        if name in self._sent:
            return import_own(self._sent[name], source)
        return import_file(Path(source)) if source.endswith(".py") else _import_module(source)


TASKS = TaskRegistry(
    {
        "yesno": "raytune_yesno.tasks.speech.declaration:SpeechTask",
        "sine": "raytune_yesno.tasks.sine:Sine",
    }
)


def name_task(task: str) -> str:
    """Return the option that a command which resumes work needs for code of the user's own."""
    return "" if task in TASKS else f" --task {quote(task)}"


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
