"""Independent random streams, each named by what it is for."""

import hashlib

import torch


def derive_seed(*name: object) -> int:
    """Return a 63-bit seed that depends on every part of a stream's name, on any machine.

    Reseeding from (purpose, seed, epoch, …) where a stream begins is what lets a resumed run go
    on as if it had never stopped, with no generator state to save.
    """
    digest = hashlib.sha256(repr(name).encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1


def build_torch_generator(*name: object) -> torch.Generator:
    """Return a CPU generator seeded by :func:`derive_seed`."""
    return torch.Generator().manual_seed(derive_seed(*name))
