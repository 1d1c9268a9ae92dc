"""Find the YESNO corpus or download it, with resume, checksum and safe unpacking."""

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
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from filelock import FileLock, Timeout

from raytune_yesno.errors import InputError
from raytune_yesno.home import cache_folder, expand_home
from raytune_yesno.tasks.speech.folder import FOLDER, Progress, check_folder

URL = "http://www.openslr.org/resources/1/waves_yesno.tar.gz"
CHECKSUM = "c3f49e0cca421f96b75b41640749167b52118f232498667ca7a5f9416aef8e73"  # SHA-256

# YESNO has 4.7 MB packed and 6 MB unpacked, in about 65 entries.
MAX_ARCHIVE_BYTES = 50_000_000
MAX_UNPACKED_BYTES = 100_000_000
MAX_ENTRIES = 1000
LOOK_EVERY_S = 0.5  # at the download of another command
TIMEOUT_S = 20.0  # for connecting and for each read
ATTEMPTS = 3  # each resumes where the last one stopped
BLOCK_BYTES = 1 << 16


def find_yesno(progress: Progress | None = None) -> Path:
    """Return the folder of the YESNO corpus; download it if necessary.

    The folder is ``$YESNO_ROOT``, else the user's cache.

    Raises:
        InputError: ``$YESNO_ROOT`` does not exist, or the download fails.
    """
    folder = yesno_folder()
    if root := os.environ.get("YESNO_ROOT"):
        if not folder.is_dir():
            raise InputError(f"YESNO_ROOT points at {root}, which is not a folder; correct it")
    elif not (folder / FOLDER).is_dir():
        try:
            fetch(folder, URL, CHECKSUM, progress)
        except InputError as error:
            raise InputError(
                f"no YESNO corpus here: {error}; download it on a machine with network access and "
                "point YESNO_ROOT at its folder, or use the built-in corpus: --data synthetic"
            ) from error
    return folder


def yesno_folder() -> Path:
    """Return the folder in which YESNO is sought: ``$YESNO_ROOT``, else the user's cache."""
    return Path(os.environ.get("YESNO_ROOT") or cache_folder()).expanduser()


def fetch(
    folder: str | Path,
    url: str = URL,
    checksum: str = CHECKSUM,
    progress: Progress | None = None,
) -> bool:
    """Download the corpus into ``folder/waves_yesno``.

    An archive in ``folder`` is used instead of the network. The corpus is complete or absent. An
    interrupted download stays as a ``.part`` file, from which the next one resumes.

    Args:
        folder: folder for the corpus; created if missing.
        url: URL of the archive.
        checksum: SHA-256 of the archive.
        progress: called with the number of bytes so far and the total; also while another command
            downloads into the folder.

    Returns:
        False if the corpus was there already.

    Raises:
        InputError: the corpus in ``folder`` is damaged, or the download or unpacking fails.
    """
    folder = expand_home(folder)
    target, archive = folder / FOLDER, folder / f"{FOLDER}.tar.gz"
    part = archive.with_name(f"{archive.name}.part")
    if target.exists():
        _, problems = check_folder(target)
        if problems:
            raise InputError(f"{target} is damaged ({problems[0]}): remove it to download it again")
        return False
    created = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _hold(folder / f".{FOLDER}.lock", part, progress):
            if target.exists():
                return False
            if archive.exists():
                _verify(archive, checksum)
                _extract(archive, target)
            else:
                _download(url, part, checksum, progress)
                _extract(part, target)
                part.unlink()
    except (OSError, InputError) as error:
        with contextlib.suppress(OSError):  # a folder with a partial download is not empty: stays
            for path in created:
                path.rmdir()
        if isinstance(error, InputError):
            raise
        raise InputError(f"cannot write to {folder}: {error.strerror or error}") from error
    return True


@contextlib.contextmanager
def _hold(lock: Path, part: Path, progress: Progress | None) -> Iterator[None]:
    """Wait until no other command downloads into the folder, and show how far that has come."""
    held = FileLock(lock)
    while not held.is_locked:
        try:
            held.acquire(timeout=LOOK_EVERY_S)
        except Timeout:
            with contextlib.suppress(FileNotFoundError):  # not begun, or just unpacked
                if progress:
                    progress(part.stat().st_size, None)
    try:
        yield
    finally:
        lock.unlink(missing_ok=True)  # who waits for the deleted file makes a new one
        held.release()


def _download(url: str, part: Path, checksum: str, progress: Progress | None) -> None:
    """Complete the partial download ``part``; raise InputError if that or the checksum fails."""
    resumed = part.exists()
    for _ in range(ATTEMPTS):
        if _transfer(url, part, progress):
            break
    else:
        size = part.stat().st_size if part.exists() else 0
        raise InputError(f"{url}: stopped after {size} bytes; run the command again to resume")
    try:
        _verify(part, checksum)
    except InputError as error:
        part.unlink()
        if not resumed:
            raise InputError(f"{url}: {error}") from error
        _download(url, part, checksum, progress)  # the partial file was of another archive


def _transfer(url: str, part: Path, progress: Progress | None) -> bool:
    """Append the missing bytes to ``part``; return whether the transfer is complete."""
    have = part.stat().st_size if part.exists() else 0
    headers = {"Range": f"bytes={have}-"} if have else {}
    try:
        # The URL is this module's, or the user's own; the archive's checksum is verified.
        request = urllib.request.Request(url, headers=headers)  # noqa: S310
        response = urllib.request.urlopen(request, timeout=TIMEOUT_S)  # noqa: S310
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416 and have:  # no bytes after `have`: the file is complete or too long
            return True
        raise InputError(f"{url}: {error.code} {error.reason}") from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise InputError(f"{url}: no connection ({reason})") from error
    with response:
        resumed = response.status == 206
        if resumed and not response.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
            part.unlink()  # not the requested range: restart
            return False
        done = have if resumed else 0  # a server without range requests sends the whole file
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
    """Raise InputError unless the file's SHA-256 is ``checksum``."""
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    if digest != checksum:
        raise InputError(f"{archive.name} has the wrong checksum: {digest}, not {checksum}")


def _extract(archive: Path, target: Path) -> None:
    """Unpack the archive's folder as ``target``, completely or not at all.

    Raises:
        InputError: the archive is damaged, exceeds the limits, or has an entry that is not a
            folder or plain file inside it.
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
        except InputError:
            raise
        except (tarfile.TarError, ValueError, OverflowError) as error:  # the latter of wrong sizes
            raise InputError(f"{archive.name} is damaged: {error}") from error
        unpacked = Path(temporary) / FOLDER
        if not unpacked.is_dir():
            raise InputError(f"{archive.name} has no {FOLDER} in it")
        unpacked.rename(target)


def _extract_member(tar: tarfile.TarFile, member: tarfile.TarInfo, folder: Path) -> None:
    """Write one entry below ``folder``. Owner, mode and links are ignored."""
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
