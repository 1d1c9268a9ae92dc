import dataclasses
import json
import pickle
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from raytune_yesno.commands.settings import config_help
from raytune_yesno.config import (
    Config,
    build_config,
    setting,
    upgrade_config,
)
from raytune_yesno.errors import InputError
from raytune_yesno.values import check_range, parse_assignments

# Every range: key, minimum, maximum (None: none), and a step beyond them.
BOUNDS = [
    ("epochs", 1, None, 1),
    ("batch_size", 1, None, 1),
    ("learning_rate", 0, None, 1e-9),
    ("momentum", 0, 0.999, 1e-9),
    ("weight_decay", 0, None, 1e-9),
    ("warmup", 0, 1, 1e-9),
    ("lr_decay", 0, 1, 1e-9),
    ("flat_start", 0, 1, 1e-9),
    ("clip_norm", 0, None, 1e-9),
    ("kernel_size", 1, 9, 1),
    ("hidden_units", 1, None, 1),
    ("hidden_layers", 0, 8, 1),
    ("dropout", 0, 0.95, 1e-9),
    ("min_context_s", 0, 1.6, 1e-9),
    ("shifts", 1, 4, 1),
    ("min_examples", 0, 1_000_000, 1),
    ("max_examples", 0, 100_000_000, 1),
    ("alignment", 0, 1, 1e-9),
    ("augment_scenes", 0, 1, 1e-9),
    ("augment_noise", 0, 1, 1e-9),
    ("augment_snr_db", -20, 40, 1e-9),
    ("augment_gain_db", 0, 40, 1e-9),
    ("augment_shift_s", 0, 2, 1e-9),
    ("augment_speed", 0, 0.3, 1e-9),
    ("augment_time_mask", 0, 12, 1),
    ("augment_freq_mask", 0, 14, 1),
    ("num_workers", 0, 4096, 1),
    ("cpus_per_worker", 0.01, 4096.0, 1e-4),
    ("memory_per_worker", 0.0, 1e6, 1e-3),
    ("gpus_per_worker", 0.01, 64, 1e-9),
    ("seed", 0, 2**31 - 1, 1),
    ("folds", 0, 100, 1),
]
OPTIONS = {
    "model": ["tdnn", "dstdnn", "bcresnet", "cnn", "mlp"],
    "features": ["local", "recording"],
    "optimizer": ["sgd", "adam", "adamw", "rmsprop"],
    "activation": ["relu", "gelu", "silu", "tanh", "sigmoid"],
    "dtype": ["float32", "bfloat16", "float64"],
    "split_by": ["auto", "position", "column", "speaker"],
}
SWITCHES = ["use_gpu", "swap_halves", "valid_noise"]


@st.composite
def layers(draw: st.DrawFn) -> dict[str, Any]:
    """Draw changes that make a valid configuration."""
    changes: dict[str, Any] = {"task": "yesno", "model": draw(st.sampled_from(OPTIONS["model"]))}
    for key, low, high, step in BOUNDS:
        whole = isinstance(step, int)
        most = high if high is not None else low + 1000
        changes[key] = draw(st.integers(low, most) if whole else st.floats(low, most))
    for key in ("optimizer", "activation", "dtype", "features"):
        changes[key] = draw(st.sampled_from(OPTIONS[key]))
    if draw(st.booleans()):
        low, high = sorted(draw(st.sets(st.integers(1, 4096), min_size=2, max_size=2)))
        changes["num_workers"] = (low, high)
    most_convs = min(5, 26 // max(1, changes["kernel_size"] - 1))
    changes["channels"] = tuple(
        draw(st.lists(st.integers(1, 512), min_size=1, max_size=most_convs))
    )
    for key in SWITCHES:
        changes[key] = draw(st.booleans())
    if changes["gpus_per_worker"] > 1:  # no fractions
        changes["gpus_per_worker"] = float(round(changes["gpus_per_worker"]))
    left_out = draw(st.sets(st.sampled_from(sorted(changes.keys() - {"task", "model"}))))
    return {key: changes[key] for key in changes if key not in left_out}


class TestRange:
    def test_every_key_is_covered_here(self) -> None:
        keys = {key for key, *_ in BOUNDS} | OPTIONS.keys() | {"channels", *SWITCHES}
        assert keys | {"task", "metric", "mode", "objectives", "limits", "test_speakers"} == set(
            build_config().as_dict()
        )

    @pytest.mark.parametrize(("key", "low", "high", "step"), BOUNDS)
    def test_includes_its_ends_and_nothing_beyond(
        self, key: str, low: float, high: float | None, step: float
    ) -> None:
        assert getattr(build_config({key: low}), key) == low
        beyond = [low - step]
        if high is not None:
            assert getattr(build_config({key: high}), key) == high
            beyond.append(high + step)
        for value in beyond:
            with pytest.raises(InputError, match=f"^config: {key}: .*range"):
                build_config({key: value})

    @pytest.mark.parametrize("key", [key for key, *_ in BOUNDS])
    @pytest.mark.parametrize("value", ["nan", "inf", "-inf", float("nan"), 10**400, -(10**400)])
    def test_takes_only_finite_numbers(self, key: str, value: object) -> None:
        with pytest.raises(InputError, match=f"^config: {key}"):
            build_config({key: value})

    @pytest.mark.parametrize("value", [0.91, float("nan"), float("-inf")])
    def test_a_setting_may_have_only_a_largest_value(self, value: float) -> None:
        @dataclasses.dataclass(frozen=True)
        class Settings:
            share: float = setting(0.5, "a share", high=0.9)

        (key,) = dataclasses.fields(Settings)
        check_range(key, 0.9)
        check_range(key, -5.0)
        with pytest.raises(InputError, match=r"at most 0\.9"):
            check_range(key, value)

    @pytest.mark.parametrize(
        ("key", "option"), [(key, option) for key in OPTIONS for option in OPTIONS[key]]
    )
    def test_options(self, key: str, option: str) -> None:
        assert getattr(build_config({key: option}), key) == option
        with pytest.raises(InputError, match=f"{key}: '{option}s'.*'{option}'"):
            build_config({key: option + "s"})

    @pytest.mark.parametrize("value", ["1:4", (1, 4), [1, 4]])
    def test_a_number_of_workers_may_be_a_range(self, value: object) -> None:
        config = build_config({"num_workers": value})
        assert (config.min_workers, config.max_workers, config.is_elastic) == (1, 4, True)
        assert config.as_dict()["num_workers"] == "1:4"

    @pytest.mark.parametrize(("value", "number"), [("2", 2), ("2:2", 2), (0, 0), ("0:0", 0)])
    def test_a_range_of_one_number_is_that_number(self, value: object, number: int) -> None:
        config = build_config({"num_workers": value})
        assert config.min_workers == config.max_workers == config.num_workers == number
        assert not config.is_elastic

    @pytest.mark.parametrize("value", ["4:1", "0:2", "1:4097", "-1:2"])
    def test_refuses_ranges(self, value: str) -> None:
        with pytest.raises(InputError, match=r"^config: num_workers: .*(range|between 0 and 4096)"):
            build_config({"num_workers": value})

    @pytest.mark.parametrize("value", ["1:", ":4", ":", "1:2:3", "1:two", "1.5:2", [3], True, None])
    def test_refuses_other_values_of_workers(self, value: object) -> None:
        with pytest.raises(InputError, match=r"num_workers .*LOW:HIGH"):
            build_config({"num_workers": value})

    @pytest.mark.parametrize("channels", [(), (0,), (8, -1), "", "8,,x"])
    def test_refuses_channels(self, channels: object) -> None:
        with pytest.raises(InputError, match=r"^config: channels"):
            build_config({"channels": channels})

    @pytest.mark.parametrize(
        ("num", "kernel", "fits"), [(3, 9, True), (4, 9, False), (13, 3, True)]
    )
    def test_convolutions_fit_the_window(self, num: int, kernel: int, fits: bool) -> None:
        changes = {"channels": [2] * num, "kernel_size": kernel}
        assert build_config({**changes, "model": "mlp"}).kernel_size == kernel
        if fits:
            assert build_config(changes).channels == (2,) * num
        else:
            with pytest.raises(InputError, match="28x28"):
                build_config(changes)

    def test_sine_has_no_cnn(self) -> None:
        with pytest.raises(InputError, match="model: 'cnn'"):
            build_config({"task": "sine", "model": "cnn"})

    def test_a_config_made_directly_is_checked(self) -> None:
        with pytest.raises(InputError, match=r"^warmup: 2 "):
            Config(warmup=2)

    def test_an_unknown_task_names_the_nearest(self) -> None:
        with pytest.raises(InputError, match=r"config: task: .*'yesnos'.*'yesno'"):
            build_config({"task": "yesnos"})

    @pytest.mark.parametrize(("metric", "mode"), [("valid_wer", "min"), ("wer", ""), ("", "max")])
    def test_the_objective_is_a_metric_of_the_task(self, metric: str, mode: str) -> None:
        objective = build_config({"metric": metric, "mode": mode}).objective
        assert objective.metric.name == "valid_wer"
        assert objective.metric.mode == (mode or "min")
        assert len({metric.name for metric in objective.metrics}) == 3

    def test_an_unknown_metric_names_the_nearest(self) -> None:
        with pytest.raises(InputError, match=r"'valid_los'.*'valid_loss'"):
            build_config({"metric": "valid_los"})


class TestReading:
    @pytest.mark.parametrize(
        ("key", "typed", "value"),
        [
            ("learning_rate", "1e-4", 1e-4),
            ("learning_rate", "3", 3.0),
            ("learning_rate", ".5", 0.5),
            ("epochs", "12", 12),
            ("epochs", "1e2", 100),
            ("epochs", 12.0, 12),
            ("channels", "16,32", (16, 32)),
            ("channels", "[16, 32, 64]", (16, 32, 64)),
            ("channels", "8", (8,)),
            ("channels", 8, (8,)),
            ("channels", [16, 32.0], (16, 32)),
            ("use_gpu", "true", True),
            ("use_gpu", "no", False),
            ("activation", "tanh", "tanh"),
        ],
    )
    def test_converts_text(self, key: str, typed: object, value: object) -> None:
        read = getattr(build_config({key: typed}), key)
        assert read == value
        assert type(read) is type(value)

    @pytest.mark.parametrize(
        ("key", "typed", "kind"),
        [
            ("epochs", "2.5", "a whole number"),
            ("epochs", "many", "a whole number"),
            ("epochs", True, "a whole number"),
            ("epochs", None, "a whole number"),
            ("learning_rate", "fast", "a number"),
            ("learning_rate", [1e-3], "a number"),
            ("learning_rate", "{", "a number"),
            ("use_gpu", "1", "true or false"),
            ("use_gpu", 1, "true or false"),
            ("channels", "16,wide", "a list of whole numbers"),
            ("channels", "16,[32]", "a list of whole numbers"),
            ("channels", {"16": 32}, "a list of whole numbers"),
            ("activation", 3, "text"),
        ],
    )
    def test_says_what_a_key_takes(self, key: str, typed: object, kind: str) -> None:
        with pytest.raises(InputError) as raised:
            build_config({key: typed}, where="--set")
        assert str(raised.value).startswith(f"--set: {key} ")
        assert kind in str(raised.value)
        assert repr(typed) in str(raised.value)

    @pytest.mark.parametrize(
        ("key", "message"),
        [
            ("learning_rat", "'learning_rate'"),
            ("batchsize", "'batch_size'"),
            ("optimiser", "'optimizer'"),
            ("Dropout", "'dropout'"),
            ("qqq", "task, metric"),
            (3, "task, metric"),
        ],
    )
    def test_a_misspelt_key_names_the_nearest_right_one(self, key: Any, message: str) -> None:
        with pytest.raises(InputError) as raised:
            build_config({key: 1}, where="run.yaml")
        assert str(raised.value).startswith("run.yaml: ")
        assert repr(key) in str(raised.value)
        assert message in str(raised.value)

    def test_assignments(self) -> None:
        layer = parse_assignments(["learning_rate=1e-4", " channels = 8,16 "])
        assert layer == {"learning_rate": "1e-4", "channels": "8,16"}
        assert build_config(layer).channels == (8, 16)
        for wrong in ("learning_rate", "=3"):
            with pytest.raises(InputError, match="key=value"):
                parse_assignments([wrong])

    def test_help_lists_every_key(self) -> None:
        listed = [line.split()[0] for line in config_help().splitlines()]
        assert listed == list(build_config().as_dict())


class TestLayers:
    def test_later_ones_win(self) -> None:
        config = build_config({"epochs": 3, "seed": 1}, {"epochs": 4}, {})
        assert (config.epochs, config.seed, config.batch_size) == (4, 1, 2)

    @pytest.mark.parametrize(
        ("changes", "model"),
        [
            ({}, "tdnn"),
            ({"channels": [4]}, "cnn"),
            ({"kernel_size": "5"}, "cnn"),
            ({"hidden_layers": 3}, "mlp"),
            ({"hidden_units": 8}, "tdnn"),
            ({"model": "mlp", "channels": [4]}, "mlp"),
            ({"task": "sine"}, "mlp"),
        ],
    )
    def test_a_setting_of_one_network_chooses_it(self, changes: dict[str, Any], model: str) -> None:
        assert build_config(changes).as_dict()["model"] == model

    def test_a_config_of_an_older_version_keeps_its_meaning(self) -> None:
        recorded = {
            key: value
            for key, value in build_config({"model": "cnn"}).as_dict().items()
            if key
            not in (
                "features",
                "min_context_s",
                "shifts",
                "min_examples",
                "alignment",
                "augment_scenes",
            )
        }
        config = build_config(upgrade_config(recorded)).as_dict()
        assert (config["min_context_s"], config["shifts"]) == (0.0, 1)
        assert (config["features"], config["augment_scenes"]) == ("recording", 0.0)

    def test_a_task_adds_its_own_keys(self) -> None:
        shared = {key.name for key in dataclasses.fields(Config)}
        assert build_config().as_dict().keys() - shared >= {"channels", "dropout"}
        sine = build_config({"task": "sine"}).as_dict().keys()
        assert sine - shared == {"model", "hidden_units", "hidden_layers", "activation", "dropout"}

    def test_a_config_survives_pickling(self) -> None:
        config = build_config({"channels": [4, 8], "num_workers": "1:3"})
        assert pickle.loads(pickle.dumps(config)) == config

    def test_presets_are_those_of_task_and_model(self) -> None:
        cnn, mlp = build_config({"model": "cnn"}), build_config({"model": "mlp"})
        sine = build_config({"task": "sine"})
        assert (cnn.model, mlp.hidden_layers, sine.model) == ("cnn", 2, "mlp")
        assert mlp.learning_rate < cnn.learning_rate
        steps = (sine.optimizer, sine.learning_rate, sine.momentum, sine.weight_decay)
        assert steps == ("sgd", 1e-6, 0, 0)
        assert (sine.epochs, sine.batch_size, sine.hidden_layers) == (20, 2000, 0)

    def test_layers_override_presets_in_any_order(self) -> None:
        for order in (
            [{"learning_rate": 0.1}, {"task": "sine"}],
            [{"task": "sine"}, {"learning_rate": 0.1}],
        ):
            assert build_config(*order).learning_rate == 0.1

    @given(layers())
    def test_a_config_is_rebuilt_from_its_plain_form(self, layer: dict[str, Any]) -> None:
        config = build_config(layer)
        assert {key: getattr(config, key) for key in layer} == layer
        assert build_config(config.as_dict()) == config
        assert build_config(json.loads(json.dumps(config.as_dict()))) == config
        assert build_config(yaml.safe_load(yaml.safe_dump(config.as_dict()))) == config
        typed = [f"{key}={value}" for key, value in config.as_dict().items()]
        assert build_config(parse_assignments(typed)) == config

    def test_a_config_is_frozen(self) -> None:
        config = build_config()
        with pytest.raises(dataclasses.FrozenInstanceError):
            config.epochs = 3  # type: ignore[misc]
        assert hash(config) == hash(build_config())

    def test_its_plain_form_is_a_copy(self) -> None:
        config = build_config()
        config.as_dict()["channels"].append(5)
        assert config == build_config()
