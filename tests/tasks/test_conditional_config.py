"""What a function's config has of a space whose parameters depend on each other."""

from raytune_yesno.config import build_config, declare_task, register_task
from raytune_yesno.space import Choice, Float, Int, List, build_space
from raytune_yesno.tasks.task import open_records

SPACE = build_space(
    {
        "method": Choice(
            {
                "a": {"rate": Float(0, 1), "inner": Choice({"x": {}, "y": {"depth": Int(1, 4)}})},
                "b": {"rate": Int(5, 9)},
            }
        ),
        "widths": List(Int(1, 9), 0, 3),
    }
)


def test_a_function_gets_the_parameters_that_are_active():
    seen = []

    def function(config):
        seen.append({key: config.get(key, "absent") for key in SPACE.names})
        return {"loss": 1.0}

    register_task("test:conditional", function)
    config = {"metric": "loss", "mode": "min"}
    task = declare_task("test:conditional", space=SPACE, config=config)
    points = [
        {"method": "a", "rate": 0.5, "inner": "y", "depth": 2, "widths": [3, 4]},
        {"method": "a", "rate": 0.5, "inner": "x", "widths": ()},
        {"method": "b", "rate": 6, "widths": [1]},
    ]
    for point in points:
        built = build_config({"task": "test:conditional"}, config, point, declaration=task)
        assert [record.metrics["loss"] for record in open_records(built, None)] == [1.0]
        expected = {**dict.fromkeys(SPACE.names, "absent"), **point}
        assert {**seen[-1], "widths": list(seen[-1]["widths"])} == {
            **expected,
            "widths": list(point["widths"]),
        }


def test_a_parameter_that_nobody_gives_has_a_value_of_its_domain():
    def function(config):
        return {"loss": float(SPACE["method"].branches[0]["rate"].contains(config["rate"]))}

    register_task("test:given", function)
    config = {"metric": "loss", "mode": "min"}
    task = declare_task("test:given", space=SPACE, config=config)
    built = build_config({"task": "test:given"}, config, {"method": "a"}, declaration=task)
    assert [record.metrics["loss"] for record in open_records(built, None)] == [1.0]
