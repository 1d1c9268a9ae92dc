"""Find the checkpoint that a trial resumes from: the latest usable one."""

from collections.abc import Iterable

from raytune_yesno.checkpoint import Checkpoint, UnusableCheckpoint, load_checkpoint
from raytune_yesno.files.remote import list_siblings, local_copy


def find_latest(uris: Iterable[str]) -> tuple[Checkpoint | None, str | None]:
    """Return the checkpoint with the most epochs.

    If a checkpoint is damaged or missing, its siblings are tried: Tune keeps the previous one in
    the same folder.

    Args:
        uris: folders or URIs of checkpoints. The first one wins a tie.

    Returns:
        The checkpoint, or None if none is usable; and a line about the first damaged one, or None.

    Raises:
        InputError: a storage cannot be read, or a checkpoint is from another version.
    """
    found: list[Checkpoint] = []
    damage: list[str] = []
    for uri in uris:
        try:
            found.append(_load(uri))
        except UnusableCheckpoint as error:
            damage.append(error.what)
            found += _load_usable(list_siblings(uri))
    latest = max(found, key=lambda checkpoint: checkpoint.epoch, default=None)
    if not damage:
        return latest, None
    action = f"resumed from epoch {latest.epoch}" if latest else "restarted from the beginning"
    return latest, f"{damage[0]}; {action}"


def _load(uri: str) -> Checkpoint:
    with local_copy(uri) as folder:
        try:
            return load_checkpoint(folder)
        except UnusableCheckpoint as error:  # name the URI, which the user knows, not our copy
            what = error.what.replace(str(folder), uri, 1)
            raise UnusableCheckpoint(what, "use another one") from error


def _load_usable(uris: Iterable[str]) -> Iterable[Checkpoint]:
    for uri in uris:
        try:
            yield _load(uri)
        except UnusableCheckpoint:
            continue
