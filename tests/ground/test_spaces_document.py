"""The examples of docs/spaces.md are true."""

import re
from pathlib import Path

import yaml

from raytune_yesno.config import build_config
from raytune_yesno.search import build_algorithm
from raytune_yesno.space import build_space, check_point, parse_space
from raytune_yesno.tuning.plan import Plan
from raytune_yesno.tuning.plan_checks import check_plan

DOCUMENT = Path(__file__).parents[2] / "docs/spaces.md"
BLOCKS = dict(re.findall(r"```(yaml|python)\n(.*?)```", DOCUMENT.read_text("utf-8"), re.S))


def test_both_forms_are_the_same_space_and_valid_for_the_recogniser():
    space = parse_space(yaml.safe_load(BLOCKS["yaml"]))
    names = {}
    exec(BLOCKS["python"], names)
    assert build_space(names["space"]) == space
    plan = Plan(build_config({"model": "cnn"}), space)
    check_plan(plan)
    sgd = []
    for number in range(20):
        point = build_algorithm("random", space).suggest(number, [])
        check_point(space, point)
        config = build_config(plan.config, point)
        assert config.as_dict()["channels"] == list(point["channels"])
        sgd.append("momentum" in point)
    assert 0 < sum(sgd) < 20
