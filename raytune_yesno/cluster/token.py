"""The token that lets whoever has it run code on a cluster."""

import contextlib
import os
import secrets
import tempfile
from pathlib import Path

from raytune_yesno.cluster.proxies import check_private, find_host, reach_directly
from raytune_yesno.errors import InputError

NOWHERE = "http://127.0.0.1:1"
"""A URL that nobody answers: only root can listen on port 1."""

NO_DASHBOARD = {"RAY_API_SERVER_ADDRESS": NOWHERE}
"""Environment of the processes of a cluster without a dashboard.

Ray Train asks a dashboard for the state of its actors. Without this it would send the token to port
8265, to whoever listens there, and take the answer of another cluster for its own.
"""


def token_file() -> Path:
    """Return where Ray looks for this user's token."""
    return Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or Path.home() / ".ray" / "auth_token")


def ensure_token() -> Path:
    """Make a token, if there is none, that nobody but the user can read; return its file.

    Ray's own command, and Ray where it starts a cluster, leave the file readable by everybody.

    Raises:
        InputError: it cannot be written.
    """
    path = token_file()
    try:
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            _write_whole(path, secrets.token_hex(32))
    except OSError as error:
        raise InputError(
            f"{path}: the token cannot be written ({error.strerror}); name another file with "
            "RAY_AUTH_TOKEN_PATH"
        ) from error
    hide_token()
    return path


def _write_whole(path: Path, text: str) -> None:
    """Write a file that others never see in part, and that only its owner reads.

    One that somebody has written meanwhile stays.
    """
    descriptor, scratch = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)  # mode 0600
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
        with contextlib.suppress(FileExistsError):
            os.link(scratch, path)
    finally:
        os.unlink(scratch)


def hide_token() -> None:
    """Keep the token, if there is one, to the user."""
    with contextlib.suppress(OSError):  # there may be none, or another user's
        token_file().chmod(0o600)


def auth_headers(address: str) -> dict[str, str]:
    """Return the headers with which a dashboard is asked: the token, or none if there is none.

    Every request to a dashboard takes its headers from here. It then uses no proxy.

    Args:
        address: the dashboard's URL.

    Raises:
        InputError: the token would leave this machine unencrypted.
    """
    reach_directly(find_host(address))
    try:
        token = os.environ.get("RAY_AUTH_TOKEN") or token_file().read_text().strip()
    except FileNotFoundError:
        return {}
    check_private(address)
    return {"Authorization": f"Bearer {token}"}
