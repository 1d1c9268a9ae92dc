"""Checkpoints of trained models: folders of plain tensors and JSON, which execute no code.

``state_dict_model.pt``
    the parameters, for ``model.load_state_dict(torch.load(path, weights_only=True))``;
``checkpoint.json``
    config, data and their fingerprint, epoch, metrics, history, versions, and ``sha256``: the
    digests of the other files and of this description;
``resume.pt``
    the optimiser's state, needed to resume training.
"""

from raytune_yesno.checkpoint.files import (
    DESCRIPTION,
    RESUME,
    STATE_DICT,
    Checkpoint,
    UnusableCheckpoint,
    check_storable,
    copy_checkpoint,
    describe_checkpoint,
    load_checkpoint,
    read_task,
    save_checkpoint,
)
from raytune_yesno.checkpoint.restore import load_optimizer, restore_model

__all__ = [
    "DESCRIPTION",
    "RESUME",
    "STATE_DICT",
    "Checkpoint",
    "UnusableCheckpoint",
    "check_storable",
    "copy_checkpoint",
    "describe_checkpoint",
    "load_checkpoint",
    "load_optimizer",
    "read_task",
    "restore_model",
    "save_checkpoint",
]
