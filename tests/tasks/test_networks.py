import pytest
import torch
from helpers.builders import RecipeNet
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from raytune_yesno.config import build_config
from raytune_yesno.space import Int
from raytune_yesno.tasks.speech.networks import (
    ACTIVATIONS,
    MLP,
    STRIDE,
    TDNN,
    WINDOW,
    BCResNet,
    Net,
    TimeConv,
    num_positions,
)
from raytune_yesno.tasks.speech.settings import as_speech, default_space


def read_windows(model: nn.Module, x_B1FT: Tensor) -> Tensor:
    """Return (B, P, C): what a model gives of each window cut from the input and read alone."""
    starts = range(0, x_B1FT.shape[-1] - WINDOW + 1, STRIDE)
    return torch.stack([model(x_B1FT[..., t : t + WINDOW]) for t in starts], dim=1)


def gradients(model: nn.Module, output: Tensor) -> list[Tensor]:
    """Return the gradients of a sum in which every output has its own weight."""
    weights = torch.linspace(-1, 2, output.numel(), dtype=output.dtype).reshape(output.shape)
    return list(torch.autograd.grad((output * weights).sum(), list(model.parameters())))


def assert_reads_as_windows(model: nn.Module, num_frames: int, tolerance: float) -> None:
    dtype = next(model.parameters()).dtype
    x_B1FT = torch.randn(2, 1, WINDOW, num_frames, dtype=dtype)
    whole, windows = model(x_B1FT), read_windows(model, x_B1FT)
    if num_frames == WINDOW:
        windows = windows.squeeze(1)
    close = {"rtol": tolerance, "atol": tolerance}
    torch.testing.assert_close(whole, windows, **close)
    pairs = zip(gradients(model, whole), gradients(model, windows), strict=True)
    for one, other in pairs:
        torch.testing.assert_close(one, other, **close)


class TestNet:
    def test_has_the_recipes_parameters(self) -> None:
        shapes = {name: tuple(value.shape) for name, value in Net().state_dict().items()}
        assert shapes == {
            "conv1.weight": (32, 1, 3, 3),
            "conv1.bias": (32,),
            "conv2.weight": (64, 32, 3, 3),
            "conv2.bias": (64,),
            "fc1.weight": (128, 9216),
            "fc1.bias": (128,),
            "fc2.weight": (10, 128),
            "fc2.bias": (10,),
        }

    @pytest.mark.parametrize("classes", [(RecipeNet, Net), (Net, RecipeNet)])
    def test_trades_weights_with_the_recipe(self, classes: tuple[type, type]) -> None:
        source, target = (build().eval() for build in classes)
        image = torch.randn(3, 1, 28, 28)
        assert not torch.allclose(source(image), target(image))
        target.load_state_dict(source.state_dict(), strict=True)
        torch.testing.assert_close(source(image), target(image))

    def test_starts_from_the_recipes_weights(self) -> None:
        torch.manual_seed(3)
        ours = Net().state_dict()
        torch.manual_seed(3)
        for name, value in RecipeNet().state_dict().items():
            assert torch.equal(ours[name], value), name

    def test_drops_what_the_recipe_drops(self) -> None:
        ours, recipe = Net(), RecipeNet()
        recipe.load_state_dict(ours.state_dict())
        image = torch.randn(3, 1, 28, 28)
        torch.manual_seed(1)
        dropped = ours(image)
        torch.manual_seed(1)
        torch.testing.assert_close(dropped, recipe(image))
        assert not torch.allclose(dropped, ours.eval()(image))

    @pytest.mark.parametrize("num_frames", [28, 29, 30, 31, 32, 57, 100, 211])
    def test_of_the_recipe_reads_a_spectrogram_as_its_windows(self, num_frames: int) -> None:
        torch.manual_seed(0)
        assert_reads_as_windows(Net().eval(), num_frames, 1e-5)

    @settings(max_examples=25)
    @given(
        num_frames=st.integers(28, 90),
        kernel_size=st.integers(1, 9),
        channels=st.lists(st.integers(1, 3), min_size=1, max_size=3),
        activation=st.sampled_from(sorted(ACTIVATIONS)),
    )
    def test_of_any_shape_reads_a_spectrogram_as_its_windows(
        self, num_frames: int, kernel_size: int, channels: list[int], activation: str
    ) -> None:
        torch.manual_seed(num_frames)
        model = Net(3, channels, kernel_size, hidden_units=4, activation=activation).double().eval()
        assert_reads_as_windows(model, num_frames, 1e-10)

    def test_gives_a_distribution_at_each_position(self) -> None:
        logp_BPC = Net(3, (2, 2)).eval()(torch.randn(2, 1, 28, 61))
        assert logp_BPC.shape == (2, 9, 3)
        torch.testing.assert_close(logp_BPC.exp().sum(-1), torch.ones(2, 9))


SMALL = {
    "dstdnn": lambda width: TDNN(3, width, separable=True),
    "bcresnet": lambda width: BCResNet(3, width),
}


@pytest.mark.parametrize("groups", [1, 6])
@given(frames=st.integers(5, 40), kernel=st.integers(1, 5), stride=st.integers(1, 3))
def test_a_convolution_over_time_is_that_of_torch(
    groups: int, frames: int, kernel: int, stride: int
) -> None:
    ours = TimeConv(6, 12, kernel, stride, groups=groups).double()
    torchs = nn.Conv1d(6, 12, kernel, stride, groups=groups).double()
    torchs.load_state_dict(ours.state_dict())
    x_BTI = torch.randn(2, frames, 6, dtype=torch.float64)
    expected = torchs(x_BTI.transpose(1, 2)).transpose(1, 2)
    torch.testing.assert_close(ours(x_BTI), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("model", SMALL)
class TestSmallNetworks:
    @pytest.mark.parametrize("num_frames", [28, 31, 32, 75])
    def test_read_a_spectrogram_as_its_windows(self, model: str, num_frames: int) -> None:
        torch.manual_seed(0)
        assert_reads_as_windows(SMALL[model](4).double().eval(), num_frames, 1e-10)

    def test_give_a_distribution_at_each_position(self, model: str) -> None:
        logp_BPC = SMALL[model](2).eval()(torch.randn(2, 1, 28, 61))
        assert logp_BPC.shape == (2, 9, 3)
        torch.testing.assert_close(logp_BPC.exp().sum(-1), torch.ones(2, 9))

    def test_span_some_hundred_to_some_hundred_thousand_parameters(self, model: str) -> None:
        space = default_space(as_speech(build_config({"model": model})))["hidden_units"]
        assert isinstance(space, Int)
        sizes = [
            sum(weights.numel() for weights in SMALL[model](width).parameters())
            for width in (space.low, space.high)
        ]
        assert sizes[0] < 1000
        assert sizes[1] > 100_000


class TestMLP:
    def test_without_hidden_layers_is_the_examples_linear_model(self) -> None:
        model = MLP(3, 1, hidden_layers=0)
        example = nn.Sequential(nn.Linear(3, 1), nn.Flatten(0, 1))
        assert list(model.state_dict()) == list(example.state_dict())
        model.load_state_dict(example.state_dict(), strict=True)
        x_B3 = torch.randn(5, 3)
        assert model(x_B3).shape == (5,)
        assert torch.equal(model(x_B3), example(x_B3))

    @pytest.mark.parametrize("hidden_layers", [0, 1, 3])
    @pytest.mark.parametrize("num_frames", [28, 29, 31, 32, 75])
    def test_reads_a_spectrogram_as_its_windows(self, hidden_layers: int, num_frames: int) -> None:
        torch.manual_seed(0)
        model = MLP(out_features=3, hidden_units=8, hidden_layers=hidden_layers).double()
        assert_reads_as_windows(model, num_frames, 1e-12)

    def test_reads_a_window_as_the_flattened_image(self) -> None:
        model = MLP(out_features=3)
        image = torch.randn(4, 1, 28, 28)
        torch.testing.assert_close(model(image), model(image.flatten(1)))

    @pytest.mark.parametrize("hidden_layers", [0, 1, 3])
    def test_has_the_layers_asked_for(self, hidden_layers: int) -> None:
        model = MLP(4, 3, hidden_units=5, hidden_layers=hidden_layers, dropout=0.5)
        shapes = [tuple(layer.weight.shape) for layer in model if isinstance(layer, nn.Linear)]
        widths = [4, *[5] * hidden_layers, 3]
        assert shapes == list(zip(widths[1:], widths[:-1], strict=True))
        assert sum(isinstance(layer, nn.Dropout) for layer in model.modules()) == hidden_layers


@given(st.integers(0, 400))
def test_positions_are_the_windows_that_fit(num_frames: int) -> None:
    assert num_positions(num_frames) == len(range(0, num_frames - WINDOW + 1, STRIDE))
