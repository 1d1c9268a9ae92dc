"""Dropout by example: the same masks on any number of ranks."""

import pytest
import torch
from torch import Tensor, nn

from raytune_yesno.tasks.dropout import ExampleDropout, begin_step
from raytune_yesno.tasks.speech.networks import MLP, Net

PINNED = ["0000010000001000", "1001110000110100"]


def draw(layer: nn.Module, shape: tuple[int, ...], *name: object, rank: int = 0, of: int = 1):
    begin_step(layer, rank, of, *name)
    return layer(torch.ones(shape))


class TestMasks:
    @pytest.mark.parametrize("world_size", [2, 3, 4, 8])
    @pytest.mark.parametrize("whole_channels", [False, True])
    def test_belong_to_examples_whatever_the_number_of_ranks(
        self, world_size: int, whole_channels: bool
    ) -> None:
        layer = ExampleDropout(0.4, whole_channels=whole_channels)
        whole = draw(layer, (7, 12, 3, 5), "step", 1)
        for rank in range(world_size):
            share = len(whole[rank::world_size])
            found = draw(layer, (share, 12, 3, 5), "step", 1, rank=rank, of=world_size)
            assert torch.equal(found, whole[rank::world_size])

    def test_do_not_depend_on_padding(self) -> None:
        layer = ExampleDropout(0.4)
        short, long = (draw(layer, (2, length, 16), "step", 1) for length in (5, 9))
        assert torch.equal(short, long[:, :5])

    def test_differ_by_step_example_place_and_layer(self) -> None:
        layer = ExampleDropout(0.5)
        one, other = (draw(layer, (4, 5000), "step", n) for n in (1, 2))
        masks = torch.cat([one, other, draw(ExampleDropout(0.5), (4, 5000), "x", 1)]) > 0
        kept = masks.double() - 0.5
        correlation = kept @ kept.T / 5000 * 4
        correlation.fill_diagonal_(0)
        assert correlation.abs().max() < 0.1  # 6 standard deviations of independent masks
        shifted = (kept[:, 1:] * kept[:, :-1]).mean(dim=1) * 4
        assert shifted.abs().max() < 0.1
        two = nn.Sequential(ExampleDropout(0.5), ExampleDropout(0.5))
        begin_step(two, 0, 1, "step", 1)
        assert not torch.equal(two[0](torch.ones(2, 500)), two[1](torch.ones(2, 500)))

    @pytest.mark.parametrize("rate", [0.05, 0.2, 0.5, 0.95])
    def test_drop_the_share_that_is_asked_for_and_keep_the_mean(self, rate: float) -> None:
        out = draw(ExampleDropout(rate), (8, 100, 500), "step", 1)
        assert (out == 0).double().mean() == pytest.approx(rate, abs=0.005)
        assert out.double().mean() == pytest.approx(1, abs=0.04)
        assert out[out > 0].unique().tolist() == pytest.approx([1 / (1 - rate)])

    def test_drop_whole_channels(self) -> None:
        out = draw(ExampleDropout(0.5, whole_channels=True), (64, 32, 3, 4), "step", 1)
        shares = (out == 0).double().mean(dim=(2, 3))
        assert set(shares.unique().tolist()) == {0.0, 1.0}
        assert shares.mean() == pytest.approx(0.5, abs=0.06)

    def test_are_those_of_other_machines(self) -> None:
        """The numbers that a run has had must stay, or it cannot be resumed or replayed."""
        out = draw(ExampleDropout(0.5), (2, 16), "step", 1)
        assert ["".join("01"[bool(x)] for x in row) for row in out.tolist()] == PINNED

    def test_pass_gradients_where_they_keep(self) -> None:
        layer, x = ExampleDropout(0.5), torch.ones(3, 40, requires_grad=True)
        begin_step(layer, 0, 1, "step", 1)
        out = layer(x)
        out.sum().backward()
        assert torch.equal(x.grad, out.detach())

    def test_have_no_part_in_evaluation(self) -> None:
        layer, x = ExampleDropout(0.5).eval(), torch.ones(3)
        begin_step(layer, 0, 1, "step", 1)
        assert layer(x) is x

    def test_are_torchs_where_no_step_was_begun(self) -> None:
        x = torch.ones(4, 8, 3, 3)
        for ours, theirs in (
            (ExampleDropout(0.5), nn.Dropout(0.5)),
            (ExampleDropout(0.5, whole_channels=True), nn.Dropout2d(0.5)),
        ):
            found: list[Tensor] = []
            for layer in (ours, theirs):
                torch.manual_seed(0)
                found.append(layer(x))
            assert torch.equal(*found)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    "model", [Net(3, (4, 8), hidden_units=16), MLP(out_features=3, hidden_layers=2, dropout=0.5)]
)
def test_networks_give_an_example_the_same_beside_any_others(
    model: nn.Module, dtype: torch.dtype
) -> None:
    model = model.to(dtype).train()
    x = torch.rand(5, 1, 28, 60, dtype=dtype)
    begin_step(model, 0, 1, 7)
    whole = model(x)
    begin_step(model, 1, 2, 7)
    torch.testing.assert_close(model(x[1::2, :, :, :44]), whole[1::2, :5])
    begin_step(model, 0, 1, 8)
    assert not torch.allclose(model(x), whole)
