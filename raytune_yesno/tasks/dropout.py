"""Dropout with one mask per example, independent of the number of workers.

torch draws the masks of a batch from one generator. The numbers that an example gets then depend
on the other examples of its rank and on their padding. Here a mask is a hash of the example's
index in the whole batch, the step, the epoch and the seed. It is the same on every rank and
device, and after resuming.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from raytune_yesno.seeding import derive_seed


class ExampleDropout(nn.Dropout):
    """Dropout that draws one mask per example after :func:`begin_step` was called.

    The first axis of the input is the batch axis. Without :func:`begin_step` the layer behaves
    like ``nn.Dropout``.

    Args:
        p: probability that a value becomes zero.
        whole_channels: drop all values of a channel (the second axis) together, as
            ``nn.Dropout2d`` does.
    """

    def __init__(self, p: float = 0.5, *, whole_channels: bool = False) -> None:
        super().__init__(p)
        self.whole_channels = whole_channels
        self.key: int | None = None
        self.first, self.stride = 0, 1
        self._index_N = torch.empty(0, dtype=torch.int32)

    def forward(self, x: Tensor) -> Tensor:
        """Return ``x`` with dropped values set to zero and the others scaled by 1 / (1 - p)."""
        if not self.training or not self.p:
            return x
        if self.key is None:
            return F.dropout2d(x, self.p) if self.whole_channels else F.dropout(x, self.p)
        example_B = self.first + self.stride * _count(len(x), x.device)
        keys_B = _mix(example_B ^ self.key)
        shape = x.shape[1:2] if self.whole_channels else x.shape[1:]
        # Indices are in row-major order: longer padding adds rows and keeps the others' masks.
        if len(self._index_N) < shape.numel() or self._index_N.device != x.device:
            self._index_N = _mix(_count(shape.numel(), x.device))
        index_N = self._index_N[: shape.numel()]
        random_BN = _mix(keys_B[:, None] ^ index_N)  # uniform over the signed 32-bit integers
        # In place: torch has no fast code for a comparison with a result of another type.
        kept_BN = random_BN.ge_(round(self.p * 2**32) - 2**31)
        mask = kept_BN.to(x.dtype).mul_(1 / (1 - self.p)).view(len(x), *shape)
        return x * (mask[..., None, None] if self.whole_channels else mask)


def begin_step(model: nn.Module, rank: int, world_size: int, *name: object) -> None:
    """Set the masks of the next forward pass in every :class:`ExampleDropout` of a model.

    Args:
        model: the model that is trained.
        rank: rank of this process. It computes examples ``rank``, ``rank + world_size``,
            ``rank + 2 * world_size``, … of the whole batch.
        world_size: number of ranks.
        name: identifies the step, for example by seed, epoch and step number.
    """
    layers = (module for module in model.modules() if isinstance(module, ExampleDropout))
    for number, layer in enumerate(layers):
        layer.key = _signed(derive_seed("dropout", *name, number))
        layer.first, layer.stride = rank, world_size


def _count(number: int, device: torch.device) -> Tensor:
    return torch.arange(number, dtype=torch.int32, device=device)


def _signed(number: int) -> int:
    """Return the low 32 bits of a number as a signed integer."""
    return (number + 2**31) % 2**32 - 2**31


_FACTORS = _signed(0x7FEB352D), _signed(0x846CA68B)


def _mix(x: Tensor) -> Tensor:
    """Hash int32 numbers bijectively and in place, with Wellons' "lowbias32"."""
    x ^= (x >> 16).bitwise_and_(0xFFFF)  # the mask makes torch's arithmetic shift a logical one
    x *= _FACTORS[0]
    x ^= (x >> 15).bitwise_and_(0x1FFFF)
    x *= _FACTORS[1]
    x ^= (x >> 16).bitwise_and_(0xFFFF)
    return x
