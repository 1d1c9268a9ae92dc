import math
import pickle
import subprocess
import sys
from collections import Counter

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from raytune_yesno.errors import InputError
from raytune_yesno.space import (
    Choice,
    Float,
    Int,
    build_space,
    check_point,
    decode_point,
    encode_point,
    format_space,
    parse_space,
)

UNIT = st.floats(0, 1)
SCALAR = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-100, 100),
    st.floats(-1e300, 1e300),
    st.text(max_size=5),
)


@st.composite
def floats(draw, log=None):
    log = draw(st.booleans()) if log is None else log
    bounds = st.floats(1e-12, 1e12) if log else st.floats(-1e12, 1e12)
    low, high = sorted([draw(bounds), draw(bounds)])
    return Float(low, high, log=log)


@st.composite
def ints(draw):
    log = draw(st.booleans())
    bounds = st.integers(1 if log else -(10**6), 10**6)
    low, high = sorted([draw(bounds), draw(bounds)])
    return Int(low, high, log=log)


@st.composite
def choices(draw):
    option = st.one_of(SCALAR, st.lists(SCALAR, max_size=3).map(tuple))
    return Choice.from_options(draw(st.lists(option, min_size=1, max_size=5, unique_by=repr)))


DOMAIN = st.one_of(floats(), ints(), choices())


@given(DOMAIN, UNIT)
def test_decoded_values_lie_inside_and_encode_back(domain, u):
    value = domain.decode(u)
    assert domain.contains(value)
    assert 0 <= domain.encode(value) <= 1
    again = domain.decode(domain.encode(value))
    if isinstance(domain, Float):
        assert math.isclose(again, value, rel_tol=1e-9, abs_tol=1e-9 * (domain.high - domain.low))
    else:
        assert again == value
        assert type(again) is type(value)


@given(st.one_of(floats(), ints()), UNIT, UNIT)
def test_numbers_keep_their_order(domain, u, v):
    u, v = sorted([u, v])
    assert domain.decode(u) <= domain.decode(v)


@given(floats())
def test_the_ends_of_a_float_are_exact(domain):
    assert domain.decode(0) == domain.low
    assert domain.decode(1) == domain.high


def test_log_floats_spread_by_magnitude():
    domain = Float(1e-4, 1e-2, log=True)
    assert domain.decode(0.5) == pytest.approx(1e-3)
    assert domain.encode(1e-3) == pytest.approx(0.5)


@given(st.integers(-50, 50), st.integers(0, 40))
def test_each_integer_has_an_equal_cell_of_the_unit_interval(low, extra):
    domain = Int(low, low + extra)
    count = extra + 1
    shares = Counter(domain.decode((i + 0.5) / (7 * count)) for i in range(7 * count))
    assert shares == dict.fromkeys(range(low, low + extra + 1), 7)
    assert domain.cell_width(low) == pytest.approx(1 / count)


@given(st.integers(1, 50), st.integers(0, 40))
def test_cells_of_log_integers_shrink_and_cover_the_unit_interval(low, extra):
    domain = Int(low, low + extra, log=True)
    widths = [domain.cell_width(k) for k in range(low, low + extra + 1)]
    assert sum(widths) == pytest.approx(1)
    assert widths == sorted(widths, reverse=True)
    edge = 0.0
    for k, width in zip(range(low, low + extra + 1), widths, strict=True):
        assert domain.decode(edge + 1e-6 * width) == k
        assert domain.decode(edge + width - 1e-6 * width) == k
        edge += width


def test_choices_have_equal_cells_and_keep_their_types():
    domain = Choice(1, True, 1.0, "1", None, [16, 32])
    values = [domain.decode((i + 0.5) / 6) for i in range(6)]
    assert [(type(value), value) for value in values] == [
        (int, 1),
        (bool, True),
        (float, 1.0),
        (str, "1"),
        (type(None), None),
        (tuple, (16, 32)),
    ]
    assert domain.contains([16, 32])
    assert domain.encode([16, 32]) == domain.encode((16, 32))
    assert not domain.contains((16, 33))
    assert not domain.contains(0)


def test_the_last_step_is_not_beyond_the_end() -> None:
    domain = Float(0.0, 1.9999999999999996, step=0.1)  # 2.0 but for a rounding error
    assert domain.num_values == 21
    assert all(map(domain.contains, domain.grid(21)))
    assert domain.contains(domain.decode(1.0))


@pytest.mark.parametrize(("low", "high", "step"), [(0.1, 0.3, 0.2), (0.8, 0.9, 0.1)])
def test_a_step_may_be_as_wide_as_the_range(low: float, high: float, step: float) -> None:
    assert high - low < step  # by a rounding error
    assert Float(low, high, step=step).grid(9) == [low, high]


@pytest.mark.parametrize(
    "domain",
    [
        *(Float(2, 2), Float(3, 3, log=True), Int(5, 5), Int(5, 5, log=True), Choice("a")),
        *(Float(2, 2, prior="normal"), Float(2, 2, prior="lognormal", mean=2, sigma=1)),
        *(Int(2, 2, prior="normal"), Int(2, 2, prior="lognormal"), Int(2, 2, log=True, step=8)),
        *(Float(2, 2, log=True, step=8), Float(2, 2, prior="normal", step=1)),
    ],
)
def test_a_domain_may_have_one_value(domain):
    assert domain.num_values == 1
    assert 0 <= domain.cell_width(domain.decode(0.5)) <= 1
    values = {domain.decode(u) for u in (0, 0.3, 1)}
    assert len(values) == 1
    assert domain.grid(4) == list(values)
    assert 0 <= domain.encode(values.pop()) <= 1


@pytest.mark.parametrize(
    "build",
    [
        lambda: Float(1, 0),
        lambda: Float(0, 1, log=True),
        lambda: Float(-1, 1, log=True),
        lambda: Float(math.nan, 1),
        lambda: Float(0, math.inf),
        lambda: Float(-1e308, 1e308),
        lambda: Float("0", 1),
        lambda: Float(False, 1),
        lambda: Int(2, 1),
        lambda: Int(0, 5, log=True),
        lambda: Int(1.0, 5),
        lambda: Int(True, 5),
        lambda: Int(0, 2**60),
        lambda: Choice(),
        lambda: Choice("a", "b", "a"),
        lambda: Choice(math.nan),
        lambda: Choice(1, 2**60),
        lambda: Choice(1.0, 1e305),
        lambda: Choice({"a": 1}),
        lambda: Choice(object()),
    ],
)
def test_bad_domains_are_refused(build):
    with pytest.raises(InputError):
        build()


@pytest.mark.parametrize("value", [math.nan, math.inf, -0.1, 1.1, "0.5", None, True])
def test_a_float_domain_excludes(value):
    assert not Float(0, 1).contains(value)


@pytest.mark.parametrize("value", [0, 5, 2.0, "2", True])
def test_an_int_domain_excludes(value):
    assert not Int(1, 4).contains(value)


def test_grids():
    assert Float(0, 1).grid(5) == [0, 0.25, 0.5, 0.75, 1]
    assert Float(0, 1).grid(1) == [0.5]
    assert Float(1e-4, 1e-1, log=True).grid(4) == pytest.approx([1e-4, 1e-3, 1e-2, 1e-1])
    assert Int(1, 4).grid(9) == [1, 2, 3, 4]
    assert Int(0, 100).grid(3) == [0, 50, 100]
    assert Int(1, 1000, log=True).grid(4) == [1, 10, 100, 1000]
    assert Choice("b", "a", (1, 2)).grid(2) == ["b", "a", (1, 2)]
    with pytest.raises(InputError):
        Float(0, 1).grid(0)


@given(st.one_of(floats(), ints()), st.integers(1, 30))
def test_grid_values_lie_inside_in_order_and_are_at_most_as_many_as_levels(domain, levels):
    values = domain.grid(levels)
    assert 1 <= len(values) <= levels
    assert all(domain.contains(value) for value in values)
    assert values == sorted(values)
    if levels > 1:
        assert (values[0], values[-1]) == (domain.low, domain.high)


def test_parses_the_form_of_a_yaml_file():
    text = """
        learning_rate: {float: [1e-4, 1e-1], log: true}
        dropout: {float: [0, 0.5]}
        hidden_layers: {int: [1, 4]}
        activation: {choice: [relu, tanh]}
        channels: {choice: [[16, 32], [32, 64]]}
        weight_decay: {choice: [0.0, 1e-4]}
        epochs: 20
        momentum: 9e-1
        model: cnn
    """
    assert parse_space(yaml.safe_load(text)) == {
        "learning_rate": Float(1e-4, 1e-1, log=True),
        "dropout": Float(0, 0.5),
        "hidden_layers": Int(1, 4),
        "activation": Choice("relu", "tanh"),
        "channels": Choice((16, 32), (32, 64)),
        "weight_decay": Choice(0.0, 1e-4),
        "epochs": Choice(20),
        "momentum": Choice(0.9),
        "model": Choice("cnn"),
    }


@given(st.dictionaries(st.text(max_size=5), DOMAIN, min_size=1, max_size=4))
def test_a_formatted_space_survives_yaml(space):
    plain = yaml.safe_load(yaml.safe_dump(format_space(space), sort_keys=False))
    again = parse_space(plain, exact=True)
    assert again == space
    assert list(again) == list(space)


def test_texts_that_look_like_numbers_stay_texts_in_a_record():
    space = {"id": Choice("1e3", "12e4567", "small")}
    assert parse_space(format_space(space), exact=True) == space


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        ({"lr": {"flaot": [0, 1]}}, "lr: .*'flaot'.*'float'"),
        ({"lr": {"float": [0, 1], "lgo": True}}, "lr: .*'lgo'.*'log'"),
        ({"lr": {"float": [1, 0]}}, "lr: .*low.* above high"),
        ({"lr": {"float": [0, 1], "log": True}}, "lr: .*log.* above 0"),
        ({"lr": {"float": [0, 1, 2]}}, r"lr: .*\[low, high\]"),
        ({"lr": {"float": "0-1"}}, "lr: .*list"),
        ({"lr": {"float": [0, "one"]}}, "lr: .*'one'.*finite"),
        ({"lr": {"float": [0, 10**400]}}, "lr: .*finite"),
        ({"lr": {"float": [-(10**308), 10**308]}}, "lr: .*too wide"),
        ({"lr": {"float": [1, 2], "log": "yes"}}, "lr: log .*true or false"),
        ({"k": {"int": [1, 2.5]}}, "k: .*2.5.*integer"),
        ({"k": {"int": [1, 2], "choice": [1]}}, "k: .*one of"),
        ({"k": {"log": True}}, "k: .*one of"),
        ({"act": {"choice": []}}, "act: .*one option"),
        ({"act": {"choice": ["a"], "log": True}}, "act: .*choice.*log"),
        ({"act": ["relu", "tanh"]}, "act: .*bare list"),
        ({3: {"int": [1, 2]}}, "name 3 "),
        ({}, "empty"),
        (["lr"], "mapping"),
    ],
)
def test_an_invalid_space_is_reported_by_key(mapping, message):
    with pytest.raises(InputError, match=message):
        parse_space(mapping)


def test_a_point_outside_the_space_is_reported_by_key():
    space = build_space({"lr": Float(0, 1), "layers": Int(1, 4), "fixed": 3})
    check_point(space, {"lr": 0.5, "layers": 2, "fixed": 3})
    check_point(space, {"layers": 2}, partial=True)
    with pytest.raises(InputError, match="layers: 9"):
        check_point(space, {"lr": 0.5, "layers": 9, "fixed": 3})
    with pytest.raises(InputError, match=r"'layer'.*'layers'"):
        check_point(space, {"layer": 2}, partial=True)
    with pytest.raises(InputError, match="lr, fixed"):
        check_point(space, {"layers": 2})


@given(st.dictionaries(st.text(max_size=5), DOMAIN, min_size=1, max_size=4), st.data())
def test_positions_and_points_convert_to_each_other(space, data):
    point = decode_point(space, [data.draw(UNIT) for _ in space])
    check_point(space, point)
    assert list(point) == list(space)
    position = encode_point(space, point)
    assert position == pytest.approx(encode_point(space, decode_point(space, position)))


def test_importing_space_imports_neither_ray_nor_torch():
    code = "import sys, raytune_yesno.space; print({'ray', 'torch', 'numpy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_a_single_list_is_not_taken_for_the_options():
    with pytest.raises(InputError, match=r"write Choice\('relu', 'gelu'\)"):
        Choice(["relu", "gelu"])
    constant = Choice.from_options([["relu", "gelu"]])
    assert constant.options == (("relu", "gelu"),)
    assert parse_space({"layers": {"choice": [[16, 32]]}})["layers"].num_values == 1
    assert pickle.loads(pickle.dumps(constant)) == constant
