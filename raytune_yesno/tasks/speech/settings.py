"""What can be set and searched for the recogniser, and what it reports."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from raytune_yesno.config import Config, setting
from raytune_yesno.errors import InputError
from raytune_yesno.metrics import TRAIN_LOSS, Metric
from raytune_yesno.space import Choice, Float, Int, Space

if TYPE_CHECKING:
    pass

METRICS = (
    Metric("valid_wer", format="percent", label="wer"),
    Metric("valid_loss", label="loss"),
    TRAIN_LOSS,
)


@dataclass(frozen=True, kw_only=True)
class SpeechSettings:
    """The keys of a config that the recogniser adds; the defaults are those of the CNN."""

    model: str = setting(
        "tdnn", "the network", options=("tdnn", "cnn", "mlp"), coupled=True, inherited=True
    )
    features: str = setting(
        "local",
        "what features are relative to: the noise nearby, or the recording's mean",
        options=("local", "recording"),
        inherited=True,
    )
    min_examples: int = setting(
        1,
        "fewest examples in an epoch; a smaller training part is gone through again",
        low=1,
        high=1_000_000,
    )
    alignment: float = setting(
        0.0,
        "least weight in the loss of where the words are, in recordings where they were found",
        low=0.0,
        high=1.0,
    )
    flat_start: float = setting(
        0.25, "share of training in which a flat alignment fades out", low=0.0, high=1.0
    )
    channels: tuple[int, ...] = setting(
        (16, 32),
        "channels of each convolution; as many convolutions",
        low=1,
        high=4096,
        coupled=True,
        inherited=True,
    )
    kernel_size: int = setting(
        3, "width and height of each convolution", low=1, high=9, coupled=True, inherited=True
    )
    hidden_units: int = setting(
        128, "units of each hidden layer", low=1, high=65_536, inherited=True
    )
    hidden_layers: int = setting(1, "hidden layers of the MLP", low=0, high=8, inherited=True)
    activation: str = setting(
        "relu",
        "activation function",
        options=("relu", "gelu", "silu", "tanh", "sigmoid"),
        inherited=True,
    )
    dropout: float = setting(
        0.2, "dropout before the last layer; half of it after pooling", low=0.0, high=0.95
    )

    augment_scenes: float = setting(
        0.0,
        "probability that a training example is put together from words, in another room",
        low=0.0,
        high=1.0,
    )
    augment_noise: float = setting(
        0.0, "probability that a recording gets noise in training", low=0.0, high=1.0
    )
    augment_snr_db: float = setting(
        0.0, "lowest signal-to-noise ratio of that; the highest is 20 dB more", low=-20.0, high=40.0
    )
    augment_gain_db: float = setting(0.0, "largest change of level, dB", low=0.0, high=40.0)
    augment_shift_s: float = setting(0.0, "largest shift in time, s", low=0.0, high=2.0)
    augment_speed: float = setting(0.0, "largest relative change of speed", low=0.0, high=0.3)
    augment_time_mask: int = setting(0, "most 20 ms frames hidden in every 2 s", low=0, high=12)
    augment_freq_mask: int = setting(0, "most mel bands hidden", low=0, high=14)
    valid_noise: bool = setting(True, "validate on noisy copies, too", shared=True)
    swap_halves: bool = setting(
        False, "train on the odd recordings, test on the even ones", shared=True
    )

    def check(self) -> None:
        """Raise InputError if nothing is left of a window after the convolutions."""
        if self.model == "cnn" and 28 - len(self.channels) * (self.kernel_size - 1) < 2:
            raise InputError(
                f"kernel_size: {len(self.channels)} convolutions of {self.kernel_size} leave "
                "nothing of a 28x28 window; use fewer channels or a smaller kernel"
            )


class SpeechConfig(SpeechSettings, Config):
    """The type of a recogniser's config, for annotations."""


def as_speech(config: Config) -> SpeechConfig:
    """Return a config as a recogniser's.

    Raises:
        InputError: it is of another task.
    """
    if not isinstance(config, SpeechSettings):
        raise InputError(f"task {config.task!r} recognises no speech")
    return cast(SpeechConfig, config)


MODEL_DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "tdnn": {
        "min_examples": 150,
        "alignment": 0.7,
        "dropout": 0.1,
        "augment_scenes": 0.8,
        "augment_noise": 0.7,
        "augment_snr_db": -3.0,
        "augment_gain_db": 6.0,
        "augment_shift_s": 0.3,
        "augment_speed": 0.1,
    },
    "cnn": {},
    "mlp": {"hidden_layers": 2, "learning_rate": 1e-3},
}

FEW_WORDS = 20
"""Utterances of each word, below which a recogniser makes several percent of errors."""
FEW_VALIDATION = 3
"""Recordings, below which one wrong word is a large part of the validation figures."""

LEGACY: Mapping[str, Any] = {
    "metric": "valid_loss",
    "model": "cnn",
    "features": "recording",
    "min_examples": 1,
    "alignment": 0.0,
    "augment_scenes": 0.0,
}
"""What a recorded config means that was written before these keys existed."""

_OPTIMISATION: Space = {
    "learning_rate": Float(3e-4, 1e-2, log=True),
    "batch_size": Choice(1, 2, 4, 8),
    "optimizer": Choice("sgd", "adam", "adamw", "rmsprop"),
    "momentum": Float(0.5, 0.95),
    "weight_decay": Float(1e-5, 1e-1, log=True),
    "lr_decay": Float(0.0, 1.0),
}

_AUGMENTATION: Space = {
    "augment_noise": Float(0.0, 1.0),
    "augment_snr_db": Float(-10.0, 10.0),
    "augment_gain_db": Float(0.0, 12.0),
    "augment_shift_s": Float(0.0, 0.5),
    "augment_speed": Float(0.0, 0.15),
    "augment_time_mask": Int(0, 10),
    "augment_freq_mask": Int(0, 8),
}

_NETWORKS: dict[str, Space] = {
    "tdnn": {
        "hidden_units": Int(64, 192, log=True),
        "activation": Choice("relu", "gelu", "silu"),
        "dropout": Float(0.0, 0.4),
    },
    "cnn": {
        "channels": Choice((8, 16), (16, 32), (32, 64), (8, 16, 32)),
        "kernel_size": Choice(3, 5),
        "hidden_units": Int(32, 256, log=True),
        "activation": Choice("relu", "gelu", "tanh", "sigmoid"),
        "dropout": Float(0.0, 0.6),
    },
    "mlp": {
        "hidden_layers": Int(1, 3),
        "hidden_units": Int(32, 512, log=True),
        "activation": Choice("relu", "gelu", "tanh", "sigmoid"),
        "dropout": Float(0.0, 0.6),
    },
}


def default_space(config: SpeechConfig) -> Space:
    """Return what a study varies when no space is given."""
    return {**_OPTIMISATION, **_NETWORKS[config.model], **_AUGMENTATION}
