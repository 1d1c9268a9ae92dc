"""Tune and train PyTorch models and Python functions on a Ray cluster.

The default task is a recogniser of spoken words.
"""

from raytune_yesno.import_path import drop_working_directory, is_run_as_module

TYPE_CHECKING = False  # as type checkers know it, without ``typing``

__version__ = "0.1.0"
__all__ = ["__version__", "tune"]

COMMIT = "RAYTUNE_YESNO_COMMIT"
"""The environment variable with the commit that a job runs; results record it."""
COMMAND_ID = "RAYTUNE_YESNO_COMMAND_ID"
"""The environment variable with a UUID for each command that may be repeated after a crash. Records
contain it: a repeated command makes no change that it has made before."""

if is_run_as_module():
    drop_working_directory()


if TYPE_CHECKING:
    from raytune_yesno.api import tune as tune
else:

    def __getattr__(name: str) -> object:
        """Import the function ``tune`` on first use, so that this package imports fast."""
        if name == "tune":
            import importlib  # here, because the path has been cleaned by now

            return importlib.import_module("raytune_yesno.api").tune
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
