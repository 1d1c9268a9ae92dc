"""Where a command writes, and where others find it."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path


@dataclass(frozen=True)
class OutputFolder:
    """The folder of a study or run, to which only this process writes.

    Attributes:
        path: the local folder.
        storage: the folder or URI that every node reaches, and where users find the work: ``path``,
            or the URI to which it is copied.
        check: called before each write; it raises if this process may no longer write, see
            :meth:`raytune_yesno.files.lock.Lock.check`.
    """

    path: Path
    storage: str
    check: Callable[[], None] | None = None

    @classmethod
    def of(
        cls, out: "Path | OutputFolder", check: Callable[[], None] | None = None
    ) -> "OutputFolder":
        """Return ``out``, as an output folder with ``check`` if it is only a path."""
        if isinstance(out, OutputFolder):
            return out
        return cls(out.absolute(), str(out.absolute()), check)

    def __truediv__(self, name: str) -> "OutputFolder":
        """Return a folder inside."""
        return replace(self, path=self.path / name, storage=f"{self.storage}/{name}")
