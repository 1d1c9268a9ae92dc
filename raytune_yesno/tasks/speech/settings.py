"""Settings, search spaces and metrics of the speech task."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from raytune_yesno.config import Config, setting
from raytune_yesno.errors import InputError
from raytune_yesno.metrics import TRAIN_LOSS, Metric
from raytune_yesno.space import Choice, Float, Int, Space

MAX_SPEED_CHANGE = 0.3
"""Maximum of ``augment_speed``."""

METRICS = (
    Metric("valid_wer", format="percent", label="wer"),
    Metric("valid_loss", label="loss"),
    TRAIN_LOSS,
)

COST_METRICS = (
    Metric("num_parameters", format="count", label="parameters"),
    Metric("multiply_adds_per_s", format="count", label="multiply-adds/s"),
    Metric("model_bytes", format="count", label="model bytes"),
    Metric("real_time_factor", label="RTF"),
)


@dataclass(frozen=True, kw_only=True)
class SpeechSettings:
    """Config keys of the speech task. :data:`MODEL_DEFAULTS` overrides defaults by network."""

    model: str = setting(
        "tdnn",
        "the network",
        options=("tdnn", "dstdnn", "bcresnet", "cnn", "mlp"),
        coupled=True,
        inherited=True,
    )
    features: str = setting(
        "local",
        "reference of the features: the noise nearby, or the recording's mean",
        options=("local", "recording"),
        inherited=True,
    )
    min_context_s: float = setting(
        1.6,
        "with features=local and a corpus whose recordings are mostly under 1.6 s: a recording "
        "shorter than this counts as surrounded by silence, s",
        low=0.0,
        high=1.6,
        inherited=True,
    )
    shifts: int = setting(
        1,
        "number of shifts of the network's window, one frame apart, whose probabilities are "
        "averaged in recognition",
        low=1,
        high=4,
        inherited=True,
    )
    min_examples: int = setting(
        1,
        "minimum number of examples per epoch, 0 for 150 for each word of the vocabulary; a "
        "smaller training part is repeated",
        low=0,
        high=1_000_000,
    )
    max_examples: int = setting(
        0,
        "maximum number of examples per epoch, 0 for all; a larger training part takes several "
        "epochs",
        low=0,
        high=100_000_000,
    )
    alignment: float = setting(
        0.0,
        "minimum weight in the loss of the positions of words, where they are known",
        low=0.0,
        high=1.0,
    )
    flat_start: float = setting(
        0.25, "share of training over which the flat alignment fades out", low=0.0, high=1.0
    )
    channels: tuple[int, ...] = setting(
        (16, 32),
        "channels of each convolution; one convolution per number",
        low=1,
        high=4096,
        coupled=True,
        inherited=True,
    )
    kernel_size: int = setting(
        3, "width and height of each convolution", low=1, high=9, coupled=True, inherited=True
    )
    hidden_units: int = setting(
        128,
        "units of each hidden layer; for bcresnet, channels of its first stage",
        low=1,
        high=65_536,
        inherited=True,
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
        "probability that a training example is composed from words, with another room",
        low=0.0,
        high=1.0,
    )
    augment_noise: float = setting(
        0.0, "probability that noise is added to a training recording", low=0.0, high=1.0
    )
    augment_snr_db: float = setting(
        0.0,
        "lowest signal-to-noise ratio of the noise, dB; the highest is 20 dB more",
        low=-20.0,
        high=40.0,
    )
    augment_gain_db: float = setting(0.0, "largest change of level, dB", low=0.0, high=40.0)
    augment_shift_s: float = setting(0.0, "largest shift in time, s", low=0.0, high=2.0)
    augment_speed: float = setting(
        0.0, "largest relative change of speed", low=0.0, high=MAX_SPEED_CHANGE
    )
    augment_time_mask: int = setting(
        0, "maximum number of 20 ms frames masked per 2 s", low=0, high=12
    )
    augment_freq_mask: int = setting(0, "maximum number of mel bands masked", low=0, high=14)
    valid_noise: bool = setting(True, "validate also on noisy copies", shared=True)
    split_by: str = setting(
        "auto",
        "how the parts are found: auto is by column if the corpus has a column split, else by "
        "position, every second recording for the test",
        options=("auto", "position", "column", "speaker"),
        shared=True,
    )
    test_speakers: str = setting(
        "",
        "with split_by=speaker, the speakers of the test, joined by commas; empty for a fifth",
        shared=True,
    )
    swap_halves: bool = setting(
        False, "by position: train on the odd recordings, test on the even ones", shared=True
    )
    folds: int = setting(
        0,
        "cross-validation folds: fold seed modulo folds validates; below 2: the seed draws a fifth",
        low=0,
        high=100,
        shared=True,
    )

    def check(self) -> None:
        """Check combinations of settings.

        Raises:
            InputError: the convolutions leave nothing of a window.
        """
        if self.model == "cnn" and 28 - len(self.channels) * (self.kernel_size - 1) < 2:
            raise InputError(
                f"kernel_size: {len(self.channels)} convolutions of {self.kernel_size} leave "
                "nothing of a 28x28 window; use fewer channels or a smaller kernel"
            )


class SpeechConfig(SpeechSettings, Config):
    """Type of the task's config, for annotations."""


def split_options(config: SpeechConfig) -> dict[str, Any]:
    """Return the arguments of ``split_corpus`` that a config determines, except the seed."""
    names = ("split_by", "test_speakers", "swap_halves", "folds")
    return {key: getattr(config, key) for key in names}


def examples_per_epoch(config: SpeechConfig, num_words: int, num_recordings: int) -> int:
    """Return the number of training examples per epoch.

    A training part with fewer recordings than ``min_examples`` is repeated as a whole. One with
    more recordings than ``max_examples`` takes several epochs. In between, an epoch is one pass.

    Args:
        config: the config.
        num_words: number of words of the vocabulary.
        num_recordings: number of recordings of the training part.
    """
    least = config.min_examples or EXAMPLES_PER_WORD * num_words
    count = math.ceil(least / num_recordings) * num_recordings
    return min(count, config.max_examples or count)


def as_speech(config: Config) -> SpeechConfig:
    """Return a config with the type of the speech task's.

    Raises:
        InputError: the config is of another task.
    """
    if not isinstance(config, SpeechSettings):
        raise InputError(f"task {config.task!r} does not recognise speech")
    return cast(SpeechConfig, config)


_SCENES: Mapping[str, Any] = {
    "min_examples": 0,
    "max_examples": 10_000,
    "alignment": 0.7,
    "dropout": 0.1,
    "augment_scenes": 0.8,
    "augment_noise": 0.7,
    "augment_snr_db": -3.0,
    "augment_gain_db": 6.0,
    "augment_shift_s": 0.3,
    "augment_speed": 0.1,
}

MODEL_DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "tdnn": {**_SCENES, "shifts": 4},
    "dstdnn": {**_SCENES, "hidden_units": 48},
    "bcresnet": {**_SCENES, "hidden_units": 10},
    "cnn": {},
    "mlp": {"hidden_layers": 2, "learning_rate": 1e-3},
}

EXAMPLES_PER_WORD = 150
"""Minimum number of examples per epoch for each word of the vocabulary, by default: the more words,
the more there is to tell apart."""

FEW_WORDS = 20
"""With fewer training utterances per word, expect an error rate of several percent."""
FEW_VALIDATION = 3
"""With fewer validation recordings, one wrong word changes the validation figures a lot."""

LEGACY: Mapping[str, Any] = {
    "metric": "valid_loss",
    "model": "cnn",
    "features": "recording",
    "min_context_s": 0.0,
    "shifts": 1,
    "min_examples": 1,
    "max_examples": 0,
    "alignment": 0.0,
    "augment_scenes": 0.0,
}
"""Values of these keys in recorded configs from before the keys existed."""

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
    "dstdnn": {
        "hidden_units": Int(6, 256, log=True),
        "activation": Choice("relu", "gelu", "silu"),
        "dropout": Float(0.0, 0.4),
    },
    "bcresnet": {
        "hidden_units": Int(1, 64, log=True),
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
    """Return the default search space of a study."""
    return {**_OPTIMISATION, **_NETWORKS[config.model], **_AUGMENTATION}
