"""Optimisers without torch's compiler."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from raytune_yesno.training.optimizers import without_compiler

KINDS = [torch.optim.SGD, torch.optim.RMSprop, torch.optim.Adam, torch.optim.AdamW]


def train_a_bit(kind: type[torch.optim.Optimizer]) -> tuple[list[torch.Tensor], dict[str, object]]:
    """Return the weights and the optimiser's state after two steps, a resumption between them."""
    torch.manual_seed(0)
    model = torch.nn.Linear(3, 2)
    state: dict[str, object] = {}
    for _ in range(2):
        optimizer = kind(model.parameters(), lr=0.1)  # type: ignore[call-arg]
        if state:
            optimizer.load_state_dict(state)
        optimizer.zero_grad()
        model(torch.ones(4, 3)).square().sum().backward()
        optimizer.step()
        state = optimizer.state_dict()
    return [weight.detach() for weight in model.parameters()], state


@pytest.mark.parametrize("kind", KINDS)
def test_computes_what_torch_computes(kind: type[torch.optim.Optimizer]) -> None:
    weights, state = train_a_bit(without_compiler(kind))
    expected, as_in_torch = train_a_bit(kind)
    assert all(map(torch.equal, weights, expected))
    assert str(state) == str(as_in_torch)


@pytest.mark.long
def test_training_in_the_calling_process_imports_neither_ray_nor_the_compiler(
    tmp_path: Path,
) -> None:
    words = ["train", "--num-workers", "0", "--set", "task=sine", "--epochs", "1"]
    code = f"""
import sys
from raytune_yesno.cli import main
sys.argv = ["raytune-yesno", *{words!r}, "--out", {str(tmp_path / "run")!r}]
try:
    main()
except SystemExit as ended:
    assert not ended.code
print({{"torch", "ray", "torch._dynamo", "pandas"}} & set(sys.modules))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "{'torch'}"
