"""Keep the working directory off the path on which Python looks for modules.

Commands are run in folders that came from strangers: a study, a run, some data. Python puts the
working directory on ``sys.path`` under ``python -m`` and ``python -c``, and for an empty entry of
``PYTHONPATH``; Ray puts the driver's on the path of every worker. A file ``torch.py`` in such a
folder would then run. This module is the one place that prevents it:

- :func:`drop_working_directory` cleans the path of a program of this package, when it starts.
- :class:`WorkerPath` restricts Ray's workers to folders that the driver itself searches.
- :func:`module_command` starts another Python program, as ``python -m`` does.

A folder that the user names in ``PYTHONPATH`` is searched, and so is the folder of a script that
the user runs. This module imports only modules that Python has loaded at its start.
"""

import os
import site
import sys

TYPE_CHECKING = False  # as type checkers know it, without ``typing``
if TYPE_CHECKING:
    from collections.abc import Iterable

PACKAGE = __name__.partition(".")[0]
# ``python -c`` puts an empty entry, the working directory, on the path. ``sys`` is built in.
_RUN_MODULE = (
    "import sys; sys.path[:] = filter(None, sys.path); import runpy; "
    "runpy.run_module(sys.argv.pop(1), run_name='__main__', alter_sys=True)"
)


def drop_working_directory() -> None:
    """Remove the working directory from ``sys.path``, and empty entries from ``PYTHONPATH``.

    It stays if ``PYTHONPATH`` names it, or if this package or Python's own modules lie in it.
    A driver that ``uv run`` started is kept from sending it to the workers, which is Ray's default.
    """
    os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")  # read when Ray is imported
    named = [entry for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep) if entry]
    if named:
        os.environ["PYTHONPATH"] = os.pathsep.join(named)
    else:
        os.environ.pop("PYTHONPATH", None)
    try:
        here = os.getcwd()
    except OSError:  # it has been deleted
        here = ""
    package_root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    trusted = {*map(os.path.abspath, named), package_root, os.path.dirname(os.__file__)}
    trusted |= set(site.getsitepackages())
    if here not in trusted:
        sys.path[:] = [entry for entry in sys.path if entry not in ("", here)]


def is_run_as_module() -> bool:
    """Return whether Python is looking for a module of this package to run with ``-m``."""
    if sys.argv[:1] != ["-m"]:  # documented: so it is while the module is being looked for
        return False
    module = sys.orig_argv[-len(sys.argv)].removeprefix("-m")
    return module.partition(".")[0] == PACKAGE


def module_command(module: str) -> list[str]:
    """Return the start of a command that runs a module as ``python -m`` does.

    Unlike there, nothing is imported from the working directory. The option ``-P`` does the same,
    from Python 3.11 on. The variable ``PYTHONSAFEPATH`` would be inherited by every program that a
    user's own code starts, where a script could no longer import what lies beside it.
    """
    return [sys.executable, "-c", _RUN_MODULE, module]


class WorkerPath(list[str]):
    """Folders that Ray puts on its workers' path: of those it adds, the ones the driver searches.

    Ray adds the driver's working directory and the folder of its script.
    """

    def extend(self, folders: "Iterable[str]") -> None:
        """Add the folders that are on this process's ``sys.path``."""
        searched = {os.path.abspath(entry) for entry in sys.path}
        super().extend(folder for folder in folders if folder in searched)
