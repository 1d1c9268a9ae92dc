"""Costs beside the error: what a run reports of size, arithmetic and time."""

import pytest
import torch

from raytune_yesno.config import build_config, register_task
from raytune_yesno.errors import InputError
from raytune_yesno.metrics import Metric
from raytune_yesno.tasks.sine import Sine
from raytune_yesno.tasks.speech.networks import build_network
from raytune_yesno.tasks.speech.synthetic import synthesize
from raytune_yesno.training.costs import find_costs
from raytune_yesno.training.loop import fit

SMALL = {"model": "mlp", "hidden_units": 8, "hidden_layers": 1, "epochs": 1, "max_examples": 4}


@pytest.fixture(scope="module")
def corpus():
    return synthesize(20)


def test_costs_are_counted_exactly(corpus):
    config = build_config(SMALL)
    costs = find_costs(config, corpus)
    sizes = [each.numel() for each in build_network(config, len(corpus.vocabulary)).parameters()]
    assert costs["num_parameters"] == sum(sizes) == 8 * 784 + 8 + 3 * 8 + 3
    assert costs["model_bytes"] == 4 * sum(sizes)
    # 12.5 window positions a second, less the ends of 10 s
    assert costs["multiply_adds_per_s"] == pytest.approx(12.5 * (8 * 784 + 3 * 8), rel=0.05)


def test_a_run_reports_the_costs_that_its_objectives_name(corpus):
    objectives = ["valid_wer", "num_parameters", "real_time_factor", "train_seconds"]
    (record,) = fit(build_config(SMALL, {"objectives": objectives}), corpus)
    assert record.metrics["num_parameters"] == 6307
    assert 0 < record.metrics["real_time_factor"] < 1
    assert record.metrics["train_seconds"] == record.metrics["seconds"]
    (plain,) = fit(build_config(SMALL), corpus)
    assert "num_parameters" not in plain.metrics
    assert plain.metrics["valid_loss"] == record.metrics["valid_loss"]  # measuring draws nothing


def test_any_torch_task_knows_its_parameters():
    config = build_config({"task": "sine", "hidden_layers": 1, "hidden_units": 5})
    state = torch.get_rng_state()
    assert find_costs(config, None) == {"num_parameters": 3 * 5 + 5 + 5 + 1}
    assert torch.equal(torch.get_rng_state(), state)


class Weighed(Sine):
    """Knows another cost than the number of its parameters."""

    cost_metrics = (Metric("flops", format="count"),)

    @staticmethod
    def costs(config, data):
        return {"flops": 8}


def test_a_task_with_costs_of_its_own_knows_its_parameters():
    register_task("tests:Weighed", Weighed)
    task = {"task": "tests:Weighed", "epochs": 1}
    config = build_config(task, {"limits": ["num_parameters<=9", "flops<=9"]})
    assert find_costs(config, None) == {"flops": 8, "num_parameters": 4}
    (record,) = fit(config)
    assert record.metrics["num_parameters"] == 4
    assert find_costs(build_config(task), None) == {"flops": 8}


class Pruned(Weighed):
    """Reports a number of parameters of its own."""

    metrics = (Metric("valid_loss"), Metric("num_parameters"))

    def metrics_of(self, sums):
        return {**super().metrics_of(sums), "num_parameters": 1.0}


def test_a_figure_that_a_task_reports_is_not_replaced():
    register_task("tests:Pruned", Pruned)
    config = build_config(
        {
            "task": "tests:Pruned",
            "epochs": 1,
            "objectives": ["valid_loss", "num_parameters"],
            "limits": ["flops<=9"],
        }
    )
    assert find_costs(config, None) == {"flops": 8}
    (record,) = fit(config)
    assert record.metrics["num_parameters"] == 1


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"objectives": ["valid_wer", "num_params"]}, "num_parameters"),
        ({"objectives": ["valid_wer", "wer"]}, "twice"),
        ({"objectives": ["valid_wer"], "metric": "valid_loss"}, "objectives"),
        ({"limits": ["num_parameters<20000"]}, "<="),
        ({"limits": ["num_parameters<=many"]}, "<="),
        ({"limits": ["size<=3"]}, "size"),
    ],
)
def test_wrong_objectives_and_limits_are_explained(changes, word):
    with pytest.raises(InputError, match=word):
        build_config(changes)
