"""Where a launched command writes its results, and how they come to this machine."""

from argparse import Namespace
from collections.abc import Callable
from pathlib import Path

from raytune_yesno.errors import InputError, WorkError
from raytune_yesno.files.remote import download, is_remote
from raytune_yesno.launch.launch_state import LaunchState


def find_folder(command: Namespace) -> tuple[str, str] | None:
    """Return the option of a command that names the folder of its results, and the folder.

    Args:
        command: the parsed options of ``tune`` or ``train``.
    """
    for name in ("out", "resume"):
        if folder := getattr(command, name, None):
            return f"--{name}", folder
    return None


def check_folder(name: str, folder: str) -> None:
    """Check that a folder has the same meaning on all nodes, in every working directory.

    Args:
        name: the option that names the folder, for the error.
        folder: the folder or URI.

    Raises:
        InputError: it is relative, or begins with ``~``, which the nodes do not expand.
    """
    if not (folder.startswith("/") or is_remote(folder)):
        raise InputError(f"{name} {folder}: give an absolute path on the cluster, or a URI")


def copy_home(
    launch: LaunchState, say: Callable[[str], None], copy: Callable[[Path], None]
) -> None:
    """Copy the results of a launch to this machine.

    Args:
        launch: the saved state of the launch.
        say: called with the line for the user.
        copy: copies them from the folder on the cluster, if there are any.

    Raises:
        WorkError: they could not be copied.
    """
    out = Path(launch.out)
    try:
        if is_remote(launch.study):
            download(launch.study, out, missing_ok=True)
        else:
            copy(out)
        is_copied = out.is_dir() and any(out.iterdir())
    except OSError as error:
        raise WorkError(
            f"--out {out}: cannot be written ({error.strerror or error}); add another --out to "
            f"--attach, or copy {launch.study} by hand"
        ) from error
    except (InputError, WorkError) as error:  # the launch has begun: it can be resumed
        raise WorkError(*error.args, f"the results are in {launch.study} on the cluster") from error
    say(f"home: {out}" if is_copied else "home: nothing to copy, the command has written nothing")
    launch.save(phase="home")
