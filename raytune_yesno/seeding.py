"""Independent random streams, each named by its purpose."""

import hashlib

import torch


def derive_seed(*name: object) -> int:
    """Return a 63-bit seed that depends on every part of a stream's name, on any machine.

    Every stream is seeded from (purpose, seed, epoch, …) where it begins. A resumed run is
    therefore equal to an uninterrupted one, and no generator state is saved.
    """
    digest = hashlib.sha256(repr(name).encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1


def build_torch_generator(*name: object) -> torch.Generator:
    """Return a PyTorch generator on the CPU, seeded by :func:`derive_seed`."""
    return torch.Generator().manual_seed(derive_seed(*name))
