"""Find the YESNO corpus, or download it: resumed, verified, and unpacked without trust."""

import contextlib
import gzip
import hashlib
import http.client
import io
import os
import tarfile
import tempfile
import urllib.error
import urllib.request
import zlib
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from raytune_yesno.errors import InputError
from raytune_yesno.tasks.speech.folder import FOLDER, check_folder

Progress = Callable[[int, int | None], None]  # (bytes so far, bytes in all if known)

URL = "http://www.openslr.org/resources/1/waves_yesno.tar.gz"
CHECKSUM = "c3f49e0cca421f96b75b41640749167b52118f232498667ca7a5f9416aef8e73"  # SHA-256

# YESNO is 4.7 MB packed, 6 MB unpacked, in about 65 entries.
MAX_ARCHIVE_BYTES = 50_000_000
MAX_UNPACKED_BYTES = 100_000_000
MAX_ENTRIES = 1000
TIMEOUT_S = 20.0  # for connecting and for each read
ATTEMPTS = 3  # each goes on where the last one broke off
BLOCK_BYTES = 1 << 16


def find_yesno(progress: Progress | None = None) -> Path:
    """Return the folder of the YESNO corpus; download it where there is none.

    It is $YESNO_ROOT, else the user's cache. Raise InputError where $YESNO_ROOT points at nothing
    or the download fails.
    """
    root = os.environ.get("YESNO_ROOT")
    if root:
        if not Path(root).expanduser().is_dir():
            raise InputError(f"YESNO_ROOT points at {root}, and there is no such folder")
        return Path(root).expanduser()
    folder = cache_folder()
    if not (folder / FOLDER).is_dir():
        try:
            fetch(folder, URL, CHECKSUM, progress)
        except InputError as error:
            raise InputError(
                f"no YESNO corpus here: {error}; fetch it where there is a network and point "
                "YESNO_ROOT at its folder, or use the built-in corpus: --data synthetic"
            ) from error
    return folder


def cache_folder() -> Path:
    """Return the folder in the user's cache that a download goes to."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "raytune-yesno"


def fetch(
    folder: str | Path,
    url: str = URL,
    checksum: str = CHECKSUM,
    progress: Progress | None = None,
) -> bool:
    """Download the corpus into `folder`/waves_yesno; return False if a good one is there already.

    An archive that lies in `folder` already is used instead of the network. `progress` hears
    (bytes so far, bytes in all or None). The corpus appears whole or not at all; a download that
    breaks off stays as a `.part` file and the next one goes on with it. Raise InputError.
    """
    folder = Path(folder).expanduser()
    target, archive = folder / FOLDER, folder / f"{FOLDER}.tar.gz"
    if target.exists():
        _, problems = check_folder(target)
        if problems:
            raise InputError(f"{target} is damaged ({problems[0]}): remove it to download anew")
        return False
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if archive.exists():
            _verify(archive, checksum)
            _extract(archive, target)
        else:
            part = archive.with_name(f"{archive.name}.part")
            _download(url, part, checksum, progress)
            _extract(part, target)
            part.unlink()
    except (OSError, InputError) as error:
        with contextlib.suppress(OSError):  # what was downloaded so far stays, and its folder
            for path in made:
                path.rmdir()
        if isinstance(error, InputError):
            raise
        raise InputError(f"cannot write to {folder}: {error.strerror or error}") from error
    return True


def _download(url: str, part: Path, checksum: str, progress: Progress | None) -> None:
    """Bring `part` to the whole of what the URL holds; raise InputError if it is not that."""
    resumed = part.exists()
    for _ in range(ATTEMPTS):
        if _transfer(url, part, progress):
            break
    else:
        size = part.stat().st_size if part.exists() else 0
        raise InputError(f"{url}: broke off after {size} bytes; run again to go on from there")
    try:
        _verify(part, checksum)
    except InputError as error:
        part.unlink()
        if not resumed:
            raise InputError(f"{url}: {error}") from error
        _download(url, part, checksum, progress)  # what lay there was of something else


def _transfer(url: str, part: Path, progress: Progress | None) -> bool:
    """Add to `part` what it lacks; return whether the transfer came to its end."""
    have = part.stat().st_size if part.exists() else 0
    headers = {"Range": f"bytes={have}-"} if have else {}
    try:
        # The URL is the program's own.
        request = urllib.request.Request(url, headers=headers)  # noqa: S310
        response = urllib.request.urlopen(request, timeout=TIMEOUT_S)  # noqa: S310
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416 and have:  # nothing lies behind `have`: whole, or too long
            return True
        raise InputError(f"{url}: {error.code} {error.reason}") from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise InputError(f"{url}: no connection ({reason})") from error
    with response:
        resumed = response.status == 206
        if resumed and not response.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
            part.unlink()  # not the range that was asked for: begin anew
            return False
        done = have if resumed else 0  # a server that knows no ranges sends all of it
        length = response.headers.get("Content-Length")
        total = done + int(length) if length else None
        with part.open("ab" if resumed else "wb") as file:
            try:
                while block := response.read(BLOCK_BYTES):
                    done += len(block)
                    if done > MAX_ARCHIVE_BYTES:
                        raise InputError(f"{url}: more than {MAX_ARCHIVE_BYTES} bytes; not YESNO")
                    file.write(block)
                    if progress:
                        progress(done, total)
            except (ConnectionError, TimeoutError, http.client.HTTPException):
                return False
    return total is None or done == total


def _verify(archive: Path, checksum: str) -> None:
    """Raise InputError unless the file's SHA-256 is `checksum`."""
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    if digest != checksum:
        raise InputError(f"{archive.name} has the wrong checksum: {digest}, not {checksum}")


def _extract(archive: Path, target: Path) -> None:
    """Unpack the archive's folder as `target`, all of it at once.

    Only folders and plain files with a path inside the archive are taken; raise InputError at
    anything else, at a damaged archive, and at one over the limits.
    """
    try:
        with gzip.open(archive) as file:
            data = file.read(MAX_UNPACKED_BYTES + 1)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise InputError(f"{archive.name} is damaged: {error}") from error
    if len(data) > MAX_UNPACKED_BYTES:
        raise InputError(f"{archive.name} holds more than {MAX_UNPACKED_BYTES} bytes; not YESNO")
    with tempfile.TemporaryDirectory(prefix=f".{FOLDER}-", dir=target.parent) as temporary:
        try:
            with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as tar:
                for n, member in enumerate(tar):
                    if n >= MAX_ENTRIES:
                        raise InputError(f"{archive.name} has more than {MAX_ENTRIES} entries")
                    _extract_member(tar, member, Path(temporary))
        except tarfile.TarError as error:
            raise InputError(f"{archive.name} is damaged: {error}") from error
        unpacked = Path(temporary) / FOLDER
        if not unpacked.is_dir():
            raise InputError(f"{archive.name} has no {FOLDER} in it")
        unpacked.rename(target)


def _extract_member(tar: tarfile.TarFile, member: tarfile.TarInfo, folder: Path) -> None:
    """Write one entry below `folder`, by its bytes alone: no owner, mode or link of its own."""
    path = PurePosixPath(member.name)
    if path.is_absolute() or ".." in path.parts or "\\" in member.name or ":" in member.name:
        raise InputError(f"the archive's entry {member.name!r} leaves its folder")
    if member.isdir():
        (folder / path).mkdir(parents=True, exist_ok=True)
        return
    content = tar.extractfile(member) if member.isfile() else None
    if content is None:
        raise InputError(f"the archive's entry {member.name!r} is a link or a device")
    (folder / path).parent.mkdir(parents=True, exist_ok=True)
    (folder / path).write_bytes(content.read())
