"""All kinds of bad input, by name."""

from reliability.fuzz import (
    checkpoint_kinds,
    cluster_kinds,
    command_kinds,
    record_kinds,
    settings_kinds,
    sound_kinds,
)

_MODULES = (
    settings_kinds,
    sound_kinds,
    record_kinds,
    checkpoint_kinds,
    command_kinds,
    cluster_kinds,
)
KINDS = {kind.name: kind for module in _MODULES for kind in module.KINDS}
