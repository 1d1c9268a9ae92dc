"""Values of settings and options are converted by the rules of config keys."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from raytune_yesno import cli
from raytune_yesno.commands.settings import build_plan, read_settings
from raytune_yesno.errors import InputError
from raytune_yesno.files.yaml_text import load_documents
from raytune_yesno.space import Choice, parse_space
from raytune_yesno.values import check_options, read_typed, write_typed


def build(
    space: Any,
    size: "int" = 1,
    share: float | None = None,
    points: Sequence[Any] = (),
    levels: Mapping[str, int] | None = None,
    strict: bool = False,
    own: Any = None,
) -> None:
    pass


@pytest.mark.parametrize(
    ("options", "read"),
    [
        ({"size": "3"}, {"size": 3}),
        ({"size": np.int64(3), "share": np.float32(0.5)}, {"size": 3, "share": 0.5}),
        ({"share": None}, {"share": None}),
        ({"points": ({"x": 1},), "levels": {"x": 2}}, {"points": [{"x": 1}], "levels": {"x": 2}}),
        ({"strict": True, "own": (1,)}, {"strict": True, "own": (1,)}),
    ],
)
def test_options_are_converted(options: dict[str, Any], read: dict[str, Any]) -> None:
    assert check_options("search own", build, options, reserved=("space",)) == read


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"size": 2.5}, "size takes a whole number"),
        ({"size": True}, "size takes a whole number"),
        ({"size": None}, "size takes a whole number"),
        ({"points": "x"}, "points takes a list"),
        ({"levels": 4}, "levels takes a mapping"),
        ({"space": {}}, "no option 'space'"),
    ],
)
def test_options_of_other_types_are_refused(options: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=f"search own: {says}"):
        check_options("search own", build, options, reserved=("space",))


def test_settings_of_a_study_file_are_read_as_config_keys_are(tmp_path: Path) -> None:
    file = tmp_path / "study.yaml"
    file.write_text('ordered: "yes"\nW: "2"\nconfig: {task: sine}\n')
    options = cli.build_parser().parse_args(["tune", "--config", str(file)])
    plan = build_plan(read_settings(options), options)
    assert (plan.ordered, plan.window) == (True, 2)


def test_yes_and_no_are_texts_in_lists_and_as_keys(tmp_path: Path) -> None:
    file = tmp_path / "study.yaml"
    file.write_text(
        "ordered: yes\nconfig: {task: sine}\nspace:\n"
        "  optimizer: {choice: {adamw: {}, sgd: {momentum: {float: [0.1, 0.9], log: on}}}}\n"
    )
    options = cli.build_parser().parse_args(["tune", "--config", str(file)])
    plan = build_plan(read_settings(options), options)
    assert plan.ordered is True
    text = "a: {choice: [yes, no, maybe, on, true]}\nb: {choice: {on: , off: {c: no}}}"
    space = parse_space(load_documents(text, decimal=True)[0])
    assert space["a"] == Choice("yes", "no", "maybe", "on", True)
    assert space["b"] == Choice({"on": {}, "off": {"c": False}})


PLAIN = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text()
PLAIN |= st.floats(allow_nan=False, allow_infinity=False)
WORDS = st.sampled_from(["01", "1e3", "true", "null", "[16,32]", '"quoted"', "[", '"', " 1 "])


@given(PLAIN | WORDS | st.lists(PLAIN | WORDS))
def test_a_value_written_for_a_command_line_is_read_as_itself(value: Any) -> None:
    found = read_typed(write_typed(value))
    assert (type(found), found) == (type(value), value)


@pytest.mark.parametrize(
    ("typed", "read"),
    [
        ("1e-3", 1e-3),
        ("007", 7),
        ("'a'", "'a'"),
        ("True", True),
        ("[16, relu, '1']", [16, "relu", "'1'"]),
        ("[NaN]", ["NaN"]),
        ("[1", "[1"),
        ("", ""),
    ],
)
def test_a_value_without_a_type_is_read_as_typed(typed: str, read: Any) -> None:
    assert read_typed(typed) == read
