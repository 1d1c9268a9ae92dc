"""Tune and train PyTorch models and Python functions on a Ray cluster.

Where to begin:

- :func:`raytune_yesno.tune`: tune a function or a PyTorch task of your own.
- :mod:`raytune_yesno.space`: the domains of a search space.
- :func:`raytune_yesno.study.load`: read a study, or any experiment of Ray Tune.
- :func:`raytune_yesno.search.build_searcher`: a search for a Tuner of your own.
- :class:`raytune_yesno.tasks.speech.recognizer.Recognizer`: the built-in task, spoken words.
"""

from raytune_yesno.import_path import drop_working_directory, is_run_as_module

TYPE_CHECKING = False  # as type checkers know it, without ``typing``

__version__ = "0.1.0"
__all__ = ["__version__", "tune"]

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
