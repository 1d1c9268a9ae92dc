"""The default search spaces: what a study varies when no space is given."""

from raytune_yesno.config import Config
from raytune_yesno.space import Choice, Float, Int, Space

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

SPACES: dict[tuple[str, str], Space] = {
    ("yesno", "cnn"): {
        **_OPTIMISATION,
        "channels": Choice((8, 16), (16, 32), (32, 64), (8, 16, 32)),
        "kernel_size": Choice(3, 5),
        "hidden_units": Int(32, 256, log=True),
        "activation": Choice("relu", "gelu", "tanh", "sigmoid"),
        "dropout": Float(0.0, 0.6),
        **_AUGMENTATION,
    },
    ("yesno", "tdnn"): {
        **_OPTIMISATION,
        "hidden_units": Int(48, 192, log=True),
        "activation": Choice("relu", "gelu", "silu"),
        "dropout": Float(0.0, 0.4),
        **_AUGMENTATION,
    },
    ("yesno", "mlp"): {
        **_OPTIMISATION,
        "hidden_layers": Int(1, 3),
        "hidden_units": Int(32, 512, log=True),
        "activation": Choice("relu", "gelu", "tanh", "sigmoid"),
        "dropout": Float(0.0, 0.6),
        **_AUGMENTATION,
    },
    ("sine", "mlp"): {
        "learning_rate": Float(1e-7, 1e-4, log=True),
        "momentum": Float(0.0, 0.95),
        "hidden_layers": Int(0, 2),
        "hidden_units": Int(4, 64, log=True),
        "activation": Choice("relu", "gelu", "tanh", "sigmoid"),
    },
}


def default_space(config: Config) -> Space:
    """Return the default space of a config's task and model."""
    return dict(SPACES[config.task, config.model])
