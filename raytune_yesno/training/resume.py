"""Which checkpoint a trial goes on from: the latest that is whole."""

from collections.abc import Iterable

from raytune_yesno.checkpoint import Checkpoint, UnusableCheckpoint, load_checkpoint
from raytune_yesno.files.remote import list_siblings, local_copy


def find_latest(places: Iterable[str]) -> tuple[Checkpoint | None, str | None]:
    """Return the checkpoint of most epochs, the first of several, and a line on what was damaged.

    Instead of one that is damaged or gone, those that lie beside it count: Tune keeps the one
    before it there. None where nothing is left to go on from.

    Args:
        places: folders or URIs.

    Raises:
        InputError: a storage cannot be read, or a checkpoint is of another version.
    """
    found: list[Checkpoint] = []
    damage: list[str] = []
    for place in places:
        try:
            found.append(_load(place))
        except UnusableCheckpoint as error:
            damage.append(error.what)
            found += _load_whole(list_siblings(place))
    latest = max(found, key=lambda checkpoint: checkpoint.epoch, default=None)
    if not damage:
        return latest, None
    instead = f"gone on from epoch {latest.epoch}" if latest else "begun anew"
    return latest, f"{damage[0]}; {instead}"


def _load(place: str) -> Checkpoint:
    with local_copy(place) as folder:
        try:
            return load_checkpoint(folder)
        except UnusableCheckpoint as error:  # who reads of it knows the place, not our copy of it
            what = error.what.replace(str(folder), place, 1)
            raise UnusableCheckpoint(what, "use another one") from error


def _load_whole(places: Iterable[str]) -> Iterable[Checkpoint]:
    for place in places:
        try:
            yield _load(place)
        except UnusableCheckpoint:
            continue
