"""Optimisers that do not import torch's compiler."""

import functools
import inspect

import torch

_METHODS = ("add_param_group", "load_state_dict", "state_dict", "zero_grad")


@functools.cache
def without_compiler(kind: type[torch.optim.Optimizer]) -> type[torch.optim.Optimizer]:
    """Return an optimiser class that computes the same, in processes that compile nothing.

    torch's own classes import ``torch._dynamo`` at their first call, to exclude their methods from
    a compilation. That takes 1.6 s of a core in every process that trains. A subclass with the
    methods below these exclusions does without.

    Example:
        ``without_compiler(torch.optim.AdamW)(model.parameters(), lr=1e-3)``
    """
    methods = {name: inspect.unwrap(getattr(kind, name)) for name in _METHODS}
    step = torch.no_grad()(inspect.unwrap(kind.step))
    return type(kind.__name__, (kind,), {**methods, "step": step})
