"""The networks: ``Net`` of PyTorch's recipe, a TDNN, a small residual network and an MLP.

Axes in names: B batch, C classes, F mel bands, P window positions, T frames.
"""

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from raytune_yesno.tasks.dropout import ExampleDropout

if TYPE_CHECKING:
    from raytune_yesno.tasks.speech.settings import SpeechConfig

WINDOW = 28
"""Side of the networks' input window: 28 mel bands by 28 frames."""

STRIDE = 4
"""Frames between window positions. Even, so that it commutes with pooling by two."""

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
}


def num_positions(num_frames: int) -> int:
    """Return the number of positions of the sliding window in ``num_frames`` frames."""
    return max(0, (num_frames - WINDOW) // STRIDE + 1)


class Net(nn.Module):
    """A convolutional network over 28x28 windows, applied in one pass over a spectrogram.

    With the default arguments, the parameters have the names and shapes of PyTorch's "defining a
    neural network" recipe (conv 1-32-64, 3x3; max-pool 2; fc 9216-128-10; log-softmax). A
    ``state_dict`` of either one loads in the other.

    Convolutions and pooling by two are equivariant to shifts by an even number of frames. A window
    of the input therefore corresponds to a window of the pooled map, and the first fully connected
    layer is a convolution over that map whose kernel is a whole window. Windows are not cut out:
    every frame is convolved once instead of seven times.

    Args:
        num_classes: classes of the output.
        channels: output channels of each convolution.
        kernel_size: width and height of each convolution.
        hidden_units: units of the fully connected hidden layer.
        activation: one of :data:`ACTIVATIONS`.
        dropout: rate before the last layer; half of it, on whole channels, after pooling.
    """

    def __init__(
        self,
        num_classes: int = 10,
        channels: Sequence[int] = (32, 64),
        kernel_size: int = 3,
        hidden_units: int = 128,
        activation: str = "relu",
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        self.num_convs = len(channels)
        inputs = 1
        for number, outputs in enumerate(channels, start=1):
            self.add_module(f"conv{number}", nn.Conv2d(inputs, outputs, kernel_size))
            inputs = outputs
        self.pooled = (WINDOW - self.num_convs * (kernel_size - 1)) // 2
        self.activation = ACTIVATIONS[activation]()
        self.dropout1 = ExampleDropout(dropout / 2, whole_channels=True)
        self.dropout2 = ExampleDropout(dropout)
        self.fc1 = nn.Linear(channels[-1] * self.pooled**2, hidden_units)
        self.fc2 = nn.Linear(hidden_units, num_classes)

    def forward(self, x_B1FT: Tensor) -> Tensor:
        """Return log-probabilities: (B, C) of a 28x28 image, (B, P, C) of a 28xT spectrogram.

        Position p of a spectrogram has the result of the image of frames 4p to 4p + 27.
        """
        # Pooling by two is several times faster with channels last.
        x = x_B1FT.to(memory_format=torch.channels_last)
        for number in range(1, self.num_convs + 1):
            x = self.activation(self.get_submodule(f"conv{number}")(x))
        x = self.dropout1(F.max_pool2d(x, 2))  # (B, channels, pooled, T/2)
        kernel = self.fc1.weight.unflatten(1, (-1, self.pooled, self.pooled))
        x = F.conv2d(x, kernel, self.fc1.bias, stride=STRIDE // 2).squeeze(2)  # (B, hidden, ≥P)
        x = self.activation(x[:, :, : num_positions(x_B1FT.shape[-1])].transpose(1, 2))
        x = F.log_softmax(self.fc2(self.dropout2(x)), dim=-1)
        return x.squeeze(1) if x_B1FT.shape[-1] == WINDOW else x


class TimeConv(nn.Conv1d):
    """A convolution over time, without padding, of (B, T, inputs) to (B, P, outputs).

    It is one product of matrices. oneDNN, which computes :class:`torch.nn.Conv1d`, compiles code
    for each new length of a batch, and nearly every batch has another one. The channels come last,
    as layer normalisation needs them.
    """

    def forward(self, x_BTI: Tensor) -> Tensor:
        """Return the convolution at every ``stride``-th frame."""
        if self.groups > 1:
            return super().forward(x_BTI.transpose(1, 2)).transpose(1, 2)
        (kernel,), (stride,) = self.kernel_size, self.stride
        end = x_BTI.shape[1] - kernel + 1
        taps = [x_BTI[:, tap : end + tap : stride] for tap in range(kernel)]
        return F.linear(torch.cat(taps, 2), self.weight.transpose(1, 2).flatten(1), self.bias)


class TDNN(nn.Module):
    """A time-delay neural network: convolutions over time whose channels are the mel bands.

    See Waibel et al., "Phoneme recognition using time-delay neural networks" (1989). It reads the
    same 28x28 windows at the same positions as :class:`Net` with a fifth of the arithmetic, so that
    it processes more examples in the same time. Each layer is normalised over its channels, frame
    by frame. Batch statistics would depend on how a batch is distributed over ranks.

    Args:
        num_classes: classes of the output.
        hidden_units: channels of each layer.
        activation: one of :data:`ACTIVATIONS`.
        dropout: rate before the last layer.
        separable: split each convolution into one over time per channel and one over channels, as
            MobileNet does (Howard et al., 2017): a third of the parameters.
    """

    LAYERS = ((4, 2), (3, 1), (3, 2), (5, 1))  # kernel, stride: together 28 frames and STRIDE

    def __init__(
        self,
        num_classes: int = 10,
        hidden_units: int = 128,
        activation: str = "relu",
        dropout: float = 0.1,
        *,
        separable: bool = False,
    ) -> None:
        super().__init__()
        inputs = WINDOW
        for number, (kernel, stride) in enumerate(self.LAYERS, start=1):
            conv: nn.Module = TimeConv(inputs, hidden_units, kernel, stride)
            if separable:
                over_time = TimeConv(inputs, inputs, kernel, stride, groups=inputs, bias=False)
                conv = nn.Sequential(over_time, TimeConv(inputs, hidden_units, 1))
            self.add_module(f"conv{number}", conv)
            self.add_module(f"norm{number}", nn.LayerNorm(hidden_units))
            inputs = hidden_units
        self.activation = ACTIVATIONS[activation]()
        self.dropout = ExampleDropout(dropout)
        self.fc = nn.Linear(hidden_units, num_classes)

    def forward(self, x_B1FT: Tensor) -> Tensor:
        """Return log-probabilities: (B, C) of a 28x28 image, (B, P, C) of a 28xT spectrogram."""
        x_BTF = x_B1FT.squeeze(1).transpose(1, 2)
        for number in range(1, len(self.LAYERS) + 1):
            x_BTF = self.get_submodule(f"conv{number}")(x_BTF)
            x_BTF = self.activation(self.get_submodule(f"norm{number}")(x_BTF))
        logp_BPC = F.log_softmax(self.fc(self.dropout(x_BTF)), dim=-1)
        return logp_BPC.squeeze(1) if x_B1FT.shape[-1] == WINDOW else logp_BPC


class FrameNorm(nn.Module):
    """Normalise each frame over channels and bands, with a scale and an offset for each of both.

    Like layer normalisation, and unlike batch normalisation, a frame depends on itself only: not on
    the padding, the other examples of a batch, or how these are distributed over ranks.

    Args:
        channels: number of channels.
        bands: number of frequency bands.
    """

    def __init__(self, channels: int, bands: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels, bands, 1))
        self.bias = nn.Parameter(torch.zeros(channels, bands, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (B, channels, bands, T)."""
        centred = x - x.mean((1, 2), keepdim=True)
        scale = torch.rsqrt(centred.square().mean((1, 2), keepdim=True) + 1e-5)
        return centred * scale * self.weight + self.bias


class BroadcastBlock(nn.Module):
    """A block of :class:`BCResNet`: convolve over bands in 2-D and, after a mean, over time in 1-D.

    The 1-D result is added to every band. Frames at both ends that lack a neighbour are dropped.

    Args:
        inputs: input channels.
        outputs: output channels. If they differ, there is no identity path.
        bands: input bands.
        stride: input bands for each output band.
        activation: one of :data:`ACTIVATIONS`.
    """

    def __init__(self, inputs: int, outputs: int, bands: int, stride: int, activation: str) -> None:
        super().__init__()
        self.residual = inputs == outputs and stride == 1
        self.widen: nn.Module = nn.Identity()
        if inputs != outputs:
            self.widen = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, bias=False),
                FrameNorm(outputs, bands),
                ACTIVATIONS[activation](),
            )
        self.over_bands = nn.Sequential(
            nn.Conv2d(outputs, outputs, (3, 1), (stride, 1), (1, 0), groups=outputs, bias=False),
            FrameNorm(outputs, -(-bands // stride)),
        )
        self.over_time = nn.Sequential(
            nn.Conv2d(outputs, outputs, (1, 3), groups=outputs, bias=False),
            FrameNorm(outputs, 1),
            nn.SiLU(),
            nn.Conv2d(outputs, outputs, 1),
        )
        self.activation = ACTIVATIONS[activation]()

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, outputs, ⌈bands / stride⌉, T - 2) of a (B, inputs, bands, T) map."""
        wide = self.over_bands(self.widen(x))
        narrow = self.over_time(wide.mean(2, keepdim=True))
        y = wide[..., 1:-1] + narrow
        output: Tensor = self.activation(y + x[..., 1:-1] if self.residual else y)
        return output


class BCResNet(nn.Module):
    """A broadcasted residual network: few parameters for its accuracy.

    See Kim et al., "Broadcasted residual learning for efficient keyword spotting" (2021). It reads
    the same 28x28 windows at the same positions as :class:`Net`. Unlike in the paper, convolutions
    over time add no padding and normalisation is frame by frame, so that a position depends on its
    window only.

    Args:
        num_classes: classes of the output.
        width: channels of the first stage; those of the others are 1.5, 2 and 2.5 times as many.
        activation: one of :data:`ACTIVATIONS`.
        dropout: rate before the last layer.
    """

    STAGES = ((1.0, 1), (1.5, 2), (2.0, 2), (2.5, 1))  # channels relative to the width, stride

    def __init__(
        self,
        num_classes: int = 10,
        width: int = 8,
        activation: str = "relu",
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        bands, channels = WINDOW // 2, 2 * width
        # Frames that an output depends on: 4, then 4 more for each stage, then 8 more: WINDOW.
        layers: list[nn.Module] = [
            nn.Conv2d(1, channels, (5, 4), (2, STRIDE // 2), (2, 0), bias=False),
            FrameNorm(channels, bands),
            ACTIVATIONS[activation](),
        ]
        for share, stride in self.STAGES:
            outputs = math.ceil(share * width)
            layers.append(BroadcastBlock(channels, outputs, bands, stride, activation))
            bands, channels = -(-bands // stride), outputs
        layers += [
            nn.Conv2d(channels, channels, (bands, 5), (1, 2), groups=channels, bias=False),
            nn.Conv2d(channels, 4 * width, 1, bias=False),
            FrameNorm(4 * width, 1),
            ACTIVATIONS[activation](),
        ]
        self.layers = nn.Sequential(*layers)
        self.dropout = ExampleDropout(dropout)
        self.fc = nn.Linear(4 * width, num_classes)

    def forward(self, x_B1FT: Tensor) -> Tensor:
        """Return log-probabilities: (B, C) of a 28x28 image, (B, P, C) of a 28xT spectrogram."""
        x = self.layers(x_B1FT).squeeze(2).transpose(1, 2)
        logp_BPC = F.log_softmax(self.fc(self.dropout(x)), dim=-1)
        return logp_BPC.squeeze(1) if x_B1FT.shape[-1] == WINDOW else logp_BPC


class MLP(nn.Sequential):
    """A multi-layer perceptron for classification or regression.

    Without hidden layers and with one output it is ``Sequential(Linear(n, 1), Flatten(0, 1))``, the
    linear model of "Learning PyTorch with examples", with the same names in its ``state_dict``.

    Args:
        in_features: width of the input; 784 reads the same 28x28 windows as :class:`Net`.
        out_features: number of classes (log-softmax), or 1 for a real number.
        hidden_units: units of each hidden layer.
        hidden_layers: number of hidden layers.
        activation: one of :data:`ACTIVATIONS`.
        dropout: rate after each hidden layer.
    """

    def __init__(
        self,
        in_features: int = WINDOW * WINDOW,
        out_features: int = 10,
        hidden_units: int = 128,
        hidden_layers: int = 1,
        activation: str = "relu",
        dropout: float = 0.0,
    ) -> None:
        layers: list[nn.Module] = []
        width = in_features
        for _ in range(hidden_layers):
            activate = ACTIVATIONS[activation]()
            # In one layer: the names of the weights must not depend on the rate, which
            # population-based training changes.
            layers.append(nn.Linear(width, hidden_units))
            layers.append(nn.Sequential(activate, ExampleDropout(dropout)) if dropout else activate)
            width = hidden_units
        layers.append(nn.Linear(width, out_features))
        layers.append(nn.Flatten(0, 1) if out_features == 1 else nn.LogSoftmax(dim=-1))
        super().__init__(*layers)
        # torch calls it for an MLP within another model, too.
        self.register_load_state_dict_pre_hook(_rename_earlier)  # type: ignore[no-untyped-call]

    def forward(self, x: Tensor) -> Tensor:
        """Apply the network to rows or to windows of a spectrogram.

        Args:
            x: (B, in_features) rows, or a (B, 1, 28, T) spectrogram as for :class:`Net`.

        Returns:
            (B,) real numbers or (B, C) log-probabilities; (B, P, C) for a spectrogram with T > 28.
        """
        if x.dim() == 4:
            single = x.shape[-1] == WINDOW
            # (B, F, P, 28) -> (B, P, F * 28), the order of a flattened image
            x = x.squeeze(1).unfold(-1, WINDOW, STRIDE).transpose(1, 2).flatten(-2)
            x = x.squeeze(1) if single else x
        return super().forward(x)  # type: ignore[no-untyped-call]


def _rename_earlier(mlp: MLP, state: dict[str, Tensor], prefix: str, *_: Any) -> None:
    """Give the weights of an MLP of an earlier version their present names, before they are loaded.

    Dropout counted as a layer of its own: the layers 0, 3, 6, … are 0, 2, 4, … now.
    """
    layers = range(len(mlp) // 2)
    if f"{prefix}{3 * layers[-1]}.weight" not in state:
        return
    for layer in layers:
        for kind in ("weight", "bias"):
            if (weight := state.pop(f"{prefix}{3 * layer}.{kind}", None)) is not None:
                state[f"{prefix}{2 * layer}.{kind}"] = weight


class ShiftAverage(nn.Module):
    """A network whose probabilities are averaged over shifts of its window by single frames.

    Positions are :data:`STRIDE` frames apart, so the network hears a word at one of four offsets,
    and its errors depend on the offset. The mean over the offsets has fewer. Without shifts this
    is the network itself.

    Args:
        network: a network for (B, 1, 28, T) spectrograms.
        shifts: number of shifts.

    Attributes:
        before: number of frames before the window of a position that it depends on.
        after: number of frames after the window.
    """

    def __init__(self, network: nn.Module, shifts: int) -> None:
        super().__init__()
        self.network = network
        self.before, self.after = (shifts - 1) // 2, shifts // 2

    def forward(self, x_B1FT: Tensor) -> Tensor:
        """Return (B, P, C) log-probabilities of a (B, 1, 28, T) spectrogram amid silence."""
        return self.slide(F.pad(x_B1FT, (self.before, self.after)))

    def slide(self, x_B1FT: Tensor) -> Tensor:
        """Return (B, P, C) log-probabilities, P for the frames without ``before`` and ``after``."""
        shifts = self.before + 1 + self.after
        frames = x_B1FT.shape[-1] + 1 - shifts
        shifted = [x_B1FT[..., shift : shift + frames] for shift in range(shifts)]
        logp = self.network(torch.cat(shifted))
        logp_SBPC = logp.reshape(shifts, len(x_B1FT), -1, logp.shape[-1])
        mean_BPC: Tensor = torch.logsumexp(logp_SBPC, 0) - math.log(shifts)
        return mean_BPC


def build_network(config: "SpeechConfig", num_words: int = 2) -> nn.Module:
    """Return an untrained network with a class for blank and one for each word."""
    classes = 1 + num_words
    shared: dict[str, Any] = {
        "hidden_units": config.hidden_units,
        "activation": config.activation,
        "dropout": config.dropout,
    }
    model: nn.Module
    if config.model == "cnn":
        model = Net(classes, config.channels, config.kernel_size, **shared)
    elif config.model in ("tdnn", "dstdnn"):
        model = TDNN(classes, separable=config.model == "dstdnn", **shared)
    elif config.model == "bcresnet":
        model = BCResNet(classes, config.hidden_units, config.activation, config.dropout)
    else:
        model = MLP(out_features=classes, hidden_layers=config.hidden_layers, **shared)
    return model.to(getattr(torch, config.stored_dtype))
