"""The summary of the page: its answers agree with the tables."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers.builders import write_study

from raytune_yesno.report import write_report
from raytune_yesno.report.compare import compare_groups, group_studies
from raytune_yesno.report.early_stopping import measure_early_stopping
from raytune_yesno.report.importance import Importance
from raytune_yesno.report.summary import (
    answer_comparison,
    answer_early_stopping,
    answer_importance,
    answer_more_trials,
    answer_time,
    bound_correlation,
)
from raytune_yesno.report.timeline import name_nodes
from raytune_yesno.study import Study, load_all


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    return write_study(tmp_path_factory.mktemp("answers") / "study")


def test_only_hyperparameters_beyond_chance_are_named() -> None:
    found = Importance(names=("a", "b"), means=(0.4, 0.2), spreads=(0.1, 0.1), chance_level=0.3)
    assert found.clear == ("a",)
    text = answer_importance(found).text
    assert text.startswith("a (0.40 ± 0.10).")
    assert "0.30" in text
    for unclear in (replace(found, chance_level=0.5), Importance("too few")):
        assert answer_importance(unclear).text.startswith("Cannot tell")
    assert "too few" in answer_importance(Importance("too few")).text


def test_early_stopping_agrees_with_the_table(study: Study) -> None:
    spent = measure_early_stopping(study)
    text = answer_early_stopping(spent).text
    saved = 1 - len(study.epochs) / (30 * 9)
    assert text.startswith("Yes")
    assert f"{saved:.0%}" in text
    assert "epoch 3" in text
    assert f"{spent.rungs[0].judged} trials" in text
    low, high = bound_correlation(0.5, 30)
    assert low < 0.3 < 0.5 < 0.7 < high


def test_the_best_of_a_random_half_agrees_with_a_simulation(study: Study) -> None:
    text = answer_more_trials(study).text
    values = np.array([trial.metrics["valid_loss"] for trial in study.ranking])
    draw = np.random.default_rng(0)
    halves = [draw.choice(values, len(values) // 2, replace=False).min() for _ in range(20_000)]
    gains = 1 - values.min() / np.array(halves)
    typical, large = (float(figure) / 100 for figure in re.findall(r"([\d.]+)% worse", text))
    for stated, quantile in ((typical, 0.5), (large, 0.9)):
        near = np.quantile(gains, [quantile - 0.03, quantile + 0.03])
        assert near[0] - 5e-4 <= stated <= near[1] + 5e-4


def test_the_time_is_the_efficiency(study: Study) -> None:
    assert study.efficiency
    assert answer_time(study).text.startswith(f"{study.efficiency.efficiency:.1%} of the time")


def test_a_lead_may_be_chance_until_a_test_excludes_it(tmp_path: Path) -> None:
    for search in ("random", "tpe"):
        for seed in (0, 1):
            write_study(tmp_path / f"{search}{seed}", 4, search=search, seed=seed)
    studies = load_all(sorted(tmp_path.iterdir()))
    groups = group_studies(studies)
    text = answer_comparison(groups, compare_groups(groups), "valid_loss", "min").text
    assert "too few studies" in text
    assert f"{groups[0].mean:.4g}" in text
    assert "one search" in answer_comparison(groups[:1], [], "valid_loss", "min").text
    many = [replace(groups[0], bests=(1.0, 1.1, 1.2, 1.3)), replace(groups[1], bests=(2, 3, 4, 5))]
    text = answer_comparison(many, compare_groups(many), "valid_loss", "min").text
    assert "Chance is unlikely" in text
    assert "p = 0.029" in text
    page = write_report(studies, tmp_path / "out").html.read_text()
    assert page.count('<dl class="glance">') == len(studies)
    for section in ("importance", "spending", "progress", "compare", "time"):
        assert page.count(f'<dt><a href="#{section}">') == len(studies)


def test_nodes_of_one_host_are_told_apart(study: Study) -> None:
    trials = [
        replace(trial, epochs=[{**epoch, "node": f"n{trial.number % 2}"} for epoch in trial.epochs])
        for trial in study.trial_list
    ]
    split = Study(**{**vars_of(study), "trial_list": trials})
    assert set(name_nodes(split).values()) == {"here (1)", "here (2)"}
    assert set(name_nodes(study).values()) == {"here"}


def vars_of(study: Study) -> dict[str, object]:
    return {name: getattr(study, name) for name in study.__dataclass_fields__}
