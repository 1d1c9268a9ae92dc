"""The token of a cluster. Whoever has it can run code there."""

import contextlib
import os
import secrets
import tempfile
from pathlib import Path

from raytune_yesno.cluster.proxies import check_private, find_host, reach_directly
from raytune_yesno.errors import InputError

NOWHERE = "http://127.0.0.1:1"
"""A URL without a server: only root can listen on port 1."""

NO_DASHBOARD = {"RAY_API_SERVER_ADDRESS": NOWHERE}
"""Environment of the processes of a cluster without a dashboard.

Ray Train asks a dashboard for the state of its actors. By default it would send the token to
whatever listens on port 8265, and could take the answer of another cluster for its own.
"""


def token_file() -> Path:
    """Return the path where Ray looks for this user's token."""
    return Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or Path.home() / ".ray" / "auth_token")


def ensure_token() -> Path:
    """Make a token if there is none, and make it readable by the user only.

    Ray's own command, and Ray when it starts a cluster, leave the file readable by everybody.

    Returns:
        The path of the token.

    Raises:
        InputError: the file cannot be written.
    """
    path = token_file()
    try:
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            _write_atomically(path, secrets.token_hex(32))
    except OSError as error:
        raise InputError(
            f"{path}: the token cannot be written ({error.strerror}); set RAY_AUTH_TOKEN_PATH "
            "to another file"
        ) from error
    hide_token()
    return path


def _write_atomically(path: Path, text: str) -> None:
    """Write a file that appears complete, readable by its owner only.

    A file that another process has written in the meantime is kept.
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
    """Make the token, if there is one, readable by the user only."""
    with contextlib.suppress(OSError):  # there is none, or it is another user's
        token_file().chmod(0o600)


def auth_headers(address: str) -> dict[str, str]:
    """Return the headers for requests to a dashboard: the token, or nothing if there is none.

    Every request to a dashboard takes its headers from here. The host is exempted from proxies.

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
