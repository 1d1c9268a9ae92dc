"""Points that a user gives, and spaces with unusual names or few valid points."""

import pytest

from raytune_yesno.commands.settings import split_point
from raytune_yesno.errors import InputError
from raytune_yesno.search import ALGORITHMS, Observation, build_algorithm
from raytune_yesno.search.uninformed import read_points
from raytune_yesno.space import Choice, Float, Int, List, build_space, complete_point, parse_space

TWO = {"o": Choice({"a": {"x": Float(0, 1)}, "b": {"x": Float(0, 2)}, "c": {}})}
NESTED = {
    "m": Choice(
        {"cnn": {"k": Choice({"deep": {"d": Float(0, 1)}, "flat": {}})}, "mlp": {"w": Float(-5, 5)}}
    )
}


def test_a_value_that_fits_the_parameter_of_one_option_only_implies_that_option():
    assert read_points(TWO, [{"x": 1.5}]) == [{"o": "b", "x": 1.5}]


@pytest.mark.parametrize(
    ("space", "point", "message"),
    [
        (TWO, {"x": 0.5}, "o=a or o=b"),
        (NESTED, {"d": 0.3, "w": 1}, "w: it belongs to m=mlp"),
        (NESTED, {"d": 0.3, "k": "flat"}, "d: it belongs to m=cnn and k=deep"),
    ],
)
def test_a_point_whose_option_is_unclear_or_contradicted_is_refused(space, point, message):
    with pytest.raises(InputError, match=message):
        read_points(build_space(space), [point])


def test_a_value_is_read_in_the_type_of_the_option_that_the_point_has():
    space = {"o": Choice({"a": {"x": Float(0, 20)}, "b": {"x": Int(10, 20)}})}
    (point,) = read_points(space, [{"x": "15", "o": "b"}])
    assert type(point["x"]) is int


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *(("flag=true", True), ("flag=False", False), ("n=null", None), ("n=None", None)),
        *(("n=1", 1), ("n=none", "none"), ("word=true", "true"), ("word=off", "off")),
        *(("l=[1, 2]", [1, 2]), ("l=[3,[4,5]]", [3, [4, 5]]), ("l=[a,b]", ["a", "b"])),
        *(("w=[1,2]", (1, 2)), ("w=[]", ()), ("w=3", (3,))),
    ],
)
def test_a_point_may_be_typed(text, value):
    space = {
        "flag": Choice(True, False),
        "n": Choice(None, 1, "none"),
        "word": Choice("true", "off"),
        "l": Choice([1, 2], [3, [4, 5]], ["a", "b"]),
        "w": List(Int(1, 4), 0, 2),
    }
    (point,) = read_points(space, [split_point(f"{text},n=1" if text[0] != "n" else text, "")])
    read = point[text.partition("=")[0]]
    assert (read, type(read)) == (value, type(value))


def test_a_point_is_completed_where_options_have_a_number_and_a_list_of_one_name():
    space = {"o": Choice({"a": {"x": Float(0, 1)}, "b": {"x": List(Float(0, 1), 1, 2)}})}
    assert isinstance(complete_point(space, {"o": "b"}, {"o": "a", "x": 0.5})["x"], tuple)


@pytest.mark.parametrize("name", [n for n in ALGORITHMS if not ALGORITHMS[n].is_given])
@pytest.mark.parametrize(
    "space",
    [
        {"o": Choice.from_options([1, "1"], [{"x": Float(0, 1)}, {"x": Float(5, 6)}])},
        {"w": List(Int(1, 2), 1, 2), "w.length": Int(1, 3)},
    ],
    ids=["texts", "lengths"],
)
def test_names_that_look_alike_are_different_dimensions(name, space):
    algorithm = build_algorithm(name, space)
    history = []
    for number in range(12):
        point = algorithm.suggest(number, history)
        history.append(Observation(number, point, float(number), 1, "done", (float(number),)))
    assert len({repr(seen.point) for seen in history}) > 3


def test_the_only_valid_point_of_a_small_space_is_found():
    space = build_space({"a": Int(1, 250), "b": Int(1, 250), "constraints": ["a + b >= 500"]})
    assert build_algorithm("random", space).suggest(0, []) == {"a": 250, "b": 250}


def test_a_constraint_may_be_one_text_and_names_a_parameter():
    space = parse_space({"a": {"int": [1, 9]}, "b": {"int": [1, 9]}, "constraints": "a < b"})
    assert not space.satisfies({"a": 3, "b": 2})
    with pytest.raises(InputError, match="no parameter"):
        build_space({"a": Int(1, 9), "constraints": ["1 < 2"]})
