"""A report on a study whose parameters depend on each other."""

from pathlib import Path

import numpy as np
import pytest

from raytune_yesno.report.axes import build_axes
from raytune_yesno.report.importance import cross_validate, encode_axis
from raytune_yesno.report.leaderboard import format_leaderboard
from raytune_yesno.report.range_edges import find_edges
from raytune_yesno.search import build_algorithm
from raytune_yesno.space import Choice, Float, Int, build_space, format_space
from raytune_yesno.study import Study, Trial

SPACE = build_space(
    {
        "method": Choice({"a": {"slope": Float(0, 1)}, "b": {"scale": Float(1e-3, 1, log=True)}}),
        "idle": Int(1, 20),
    }
)


@pytest.fixture(scope="module")
def study():
    search, trials = build_algorithm("random", SPACE, seed=1), []
    for number in range(60):
        point = search.suggest(number, [])
        loss = 1 - point["slope"] if "slope" in point else 2 + abs(np.log10(point["scale"]) + 2) / 3
        epochs = [{"epoch": 1, "valid_loss": loss, "seconds": 1.0}]
        trials.append(Trial(number, point, "done", epochs))
    asked = {"time": 0.0, "space": format_space(SPACE), "config": {}, "search": "random"}
    return Study(Path("study"), asked, trials, None, True, 9.0, [], [])


def test_axes_have_the_scales_of_nested_domains_and_blanks(study):
    axes = {axis.name: axis for axis in build_axes(study)}
    assert axes["scale"].kind == "log"
    assert (axes["slope"].low, axes["slope"].high) == (0, 1)
    assert set(axes["method"].options) == {"a", "b"}
    assert axes["slope"].read({"method": "b"}) is None
    (edge, *_) = find_edges(study)
    assert (edge.name, edge.upper) == ("slope", True)


def test_tables_are_blank_where_a_parameter_is_not_active(study):
    rows = study.trial_rows
    assert all(("config.slope" in row) == (row["config.method"] == "a") for row in rows)
    assert "slope" in format_leaderboard(study)


def test_importance_tells_the_choice_from_its_parameters(study):
    axes = build_axes(study)
    features = np.column_stack([encode_axis(axis, study.ranking) for axis in axes])
    order = np.linspace(0, 1, len(study.ranking))
    _, increases = cross_validate(features, order, 30, 1, np.random.default_rng(0))
    means = dict(zip([axis.name for axis in axes], np.mean(increases, axis=0), strict=True))
    assert means["method"] > means["slope"] > means["idle"]
