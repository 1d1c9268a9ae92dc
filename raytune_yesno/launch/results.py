"""How the results of a launched command come to this machine."""

from collections.abc import Callable
from pathlib import Path

from raytune_yesno.errors import InputError, WorkError
from raytune_yesno.files.remote import download, is_remote
from raytune_yesno.launch.launch_state import LaunchState


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
    if is_remote(launch.study):
        try:
            download(launch.study, out, missing_ok=True)
        except InputError as error:
            raise WorkError(*error.args) from error  # the launch has begun: it can be resumed
    else:
        copy(out)
    is_copied = out.is_dir() and any(out.iterdir())
    say(f"home: {out}" if is_copied else "home: nothing to copy, the command has written nothing")
    launch.save(phase="home")
