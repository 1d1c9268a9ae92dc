"""The token that lets whoever has it run code on a cluster."""

import os
import secrets
from pathlib import Path


def token_file() -> Path:
    """Return where Ray looks for this user's token."""
    return Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or Path.home() / ".ray" / "auth_token")


def ensure_token() -> Path:
    """Make a token, if there is none, that nobody but the user can read; return its file.

    Ray's own command leaves the file readable by everybody.
    """
    path = token_file()
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        path.chmod(0o600)
        return path
    with os.fdopen(descriptor, "w") as file:
        file.write(secrets.token_hex(32))
    return path


def auth_headers() -> dict[str, str]:
    """Return what tells a dashboard who asks; nothing where this user has no token."""
    try:
        token = os.environ.get("RAY_AUTH_TOKEN") or token_file().read_text().strip()
    except FileNotFoundError:
        return {}
    return {"Authorization": f"Bearer {token}"}
