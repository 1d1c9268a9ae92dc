"""What is known of a launch while its cluster lives, in the user's state folder.

A launch outlives the process that began it: the laptop is closed, the link breaks, a step fails.
What the next process needs to go on or to clean up is written before each step that needs it.
"""

import dataclasses
import json
import os
import re
import shutil
from dataclasses import dataclass, field
from pathlib import Path

from raytune_yesno.errors import InputError

STATE = "launch.json"
_LONGEST_NAME = 200  # bytes; file systems take 255


@dataclass
class Launch:
    """One cluster, and what was submitted to it.

    Attributes:
        folder: where this is kept, with the definition as it was started and the logs.
        definition: the cluster's YAML as the user named it; empty for an address.
        address: of an existing cluster's dashboard, for which nothing is started or ended.
        phase: ``new``, ``up`` (being started), ``ready``, ``submitted``, ``ended``, ``home`` (the
            results are on this machine).
        arguments: what follows ``raytune-yesno`` on the head.
        study: the study's folder on the cluster.
        out: where it is brought to.
        submission: Ray's id of the job.
        keep: whether the cluster stays.
        exit_code: the job's, once it has ended.
    """

    folder: Path
    definition: str = ""
    address: str = ""
    phase: str = "new"
    arguments: list[str] = field(default_factory=list)
    study: str = ""
    out: str = ""
    submission: str = ""
    keep: bool = False
    exit_code: int | None = None

    @property
    def cluster_yaml(self) -> Path:
        """The definition as it is given to Ray: the user's, and what is shipped."""
        return self.folder / "cluster.yaml"

    @property
    def inputs(self) -> Path:
        """What the job's folder on the head holds: the project, and the files of the command."""
        return self.folder / "inputs"

    @property
    def log(self) -> Path:
        """What Ray's launcher said."""
        return self.folder / "launcher.log"

    def save(self, **changes: object) -> None:
        """Change fields and write all of them, whole or not at all."""
        for name, value in changes.items():
            setattr(self, name, value)
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        fields = {**dataclasses.asdict(self), "folder": None}
        scratch = self.folder / f".{STATE}"
        scratch.write_text(json.dumps(fields, indent=1) + "\n")
        scratch.rename(self.folder / STATE)

    def forget(self) -> None:
        """Remove what was kept, once nothing is left of the cluster."""
        shutil.rmtree(self.folder, ignore_errors=True)


def launch_folder(name: str) -> Path:
    """Return where what is known of a cluster is kept, by its name or address.

    Raises:
        InputError: no folder can have that name.
    """
    base = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    own = re.sub(r"[^\w.-]+", "-", name).strip("-.")
    if not 0 < len(own.encode()) <= _LONGEST_NAME:
        raise InputError(
            f"cluster_name: {name!r} has no letter, or more than {_LONGEST_NAME}; name it otherwise"
        )
    return Path(base) / "raytune-yesno" / own


def find_launch(name: str) -> Launch | None:
    """Return the launch of a cluster, by its name or address; None if there is none."""
    folder = launch_folder(name)
    try:
        fields = json.loads((folder / STATE).read_text())
        return Launch(**{**fields, "folder": folder})
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError):
        raise InputError(
            f"{folder / STATE}: damaged; delete it once the cluster's machines are gone"
        ) from None
