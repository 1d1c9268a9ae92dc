"""The saved state of a launch, in the user's state folder, for as long as its cluster exists.

A launch outlives the process that began it: the laptop sleeps, the connection breaks, a step
fails. Before each step, the state that another process needs to resume or to clean up is saved.
"""

import dataclasses
import json
import os
import re
import shutil
from dataclasses import dataclass, field
from pathlib import Path

from raytune_yesno.errors import InputError
from raytune_yesno.files.atomic import replace_file

STATE = "launch.json"
_MAX_NAME_BYTES = 200  # file systems allow 255


@dataclass
class LaunchState:
    """The state of a launch: one cluster, and the job that was submitted to it.

    Attributes:
        folder: holds the state, the definition as it was started, and the logs.
        definition: the cluster's YAML as the user named it; empty with an address.
        address: the dashboard of an existing cluster, which is not started or ended here.
        phase: ``new``, ``up`` (being started), ``ready``, ``submitted``, ``ended``, ``home`` (the
            results are on this machine).
        arguments: the arguments of ``raytune-yesno`` on the head.
        command_id: tells the command on the head that it is repeated, see ``COMMAND_ID``.
        study: the folder or URI of the results on the cluster: a study, or a run of ``train``.
        out: the folder on this machine to copy it to.
        submission: Ray's id of the job.
        keep: whether the cluster is kept.
        exit_code: the exit code of the job; None until it has ended.
    """

    folder: Path
    definition: str = ""
    address: str = ""
    phase: str = "new"
    arguments: list[str] = field(default_factory=list)
    command_id: str = ""
    study: str = ""
    out: str = ""
    submission: str = ""
    keep: bool = False
    exit_code: int | None = None

    @property
    def cluster_yaml(self) -> Path:
        """The definition for Ray: the user's, with further files to send."""
        return self.folder / "cluster.yaml"

    @property
    def inputs(self) -> Path:
        """The content of the job's folder on the head: the project, and the command's files."""
        return self.folder / "inputs"

    @property
    def log(self) -> Path:
        """The output of Ray's launcher."""
        return self.folder / "launcher.log"

    def save(self, **changes: object) -> None:
        """Change fields, and write the state atomically."""
        for name, value in changes.items():
            setattr(self, name, value)
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        fields = {**dataclasses.asdict(self), "folder": None}
        with replace_file(self.folder / STATE) as scratch:
            scratch.write_text(json.dumps(fields, indent=1) + "\n")

    def forget(self) -> None:
        """Delete the state, after the cluster has ended."""
        shutil.rmtree(self.folder, ignore_errors=True)


def launch_folder(name: str) -> Path:
    """Return the folder for the state of a cluster's launch.

    Args:
        name: the cluster's name, or its address.

    Raises:
        InputError: no folder can have that name.
    """
    base = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    own = re.sub(r"[^\w.-]+", "-", name).strip("-.")
    if not 0 < len(own.encode()) <= _MAX_NAME_BYTES:
        raise InputError(
            f"cluster_name: {name!r}: give 1 to {_MAX_NAME_BYTES} letters, digits, dots or dashes"
        )
    return Path(base) / "raytune-yesno" / own


def find_launch(name: str) -> LaunchState | None:
    """Return the saved launch of a cluster; None if there is none.

    Args:
        name: the cluster's name, or its address.

    Raises:
        InputError: the state is damaged.
    """
    folder = launch_folder(name)
    try:
        fields = json.loads((folder / STATE).read_text())
        state = LaunchState(**{**fields, "folder": folder})
        options = {word.partition("=")[0] for word in state.arguments}
        if options and state.study and not options & {"--out", "--resume"}:
            # A launch that an earlier version began, which added the folder only on submission.
            state.arguments += ["--out", state.study]
        return state
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, AttributeError):
        raise InputError(
            f"{folder / STATE}: damaged; delete it once all nodes of the cluster have ended"
        ) from None
