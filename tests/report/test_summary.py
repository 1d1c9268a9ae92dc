"""Five questions answered on the page: the sentences agree with the tables."""

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
    answer_importance,
    answer_more_trials,
    answer_stopping,
    answer_time,
    bound_correlation,
)
from raytune_yesno.report.timeline import name_nodes
from raytune_yesno.study import Study, load_all


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    return write_study(tmp_path_factory.mktemp("answers") / "study")


def test_what_is_no_more_than_luck_is_not_named() -> None:
    found = Importance(names=("a", "b"), means=(0.4, 0.2), spreads=(0.1, 0.1), luck=0.3)
    assert found.clear == ("a",)
    assert "a (0.40 ± 0.10), beyond the 0.30 that luck brings," in answer_importance(found)[1]
    assert "No single one" in answer_importance(replace(found, luck=0.5))[1]
    assert answer_importance(Importance("too few"))[1] == "Not told: too few."


def test_what_early_stopping_saved_is_what_the_table_says(study: Study) -> None:
    spent = measure_early_stopping(study)
    text = answer_stopping(spent)[1]
    saved = 1 - len(study.epochs) / (30 * 9)
    assert text.startswith(f"Yes: it saved {saved:.0%} of the epochs, and the order at epoch 3")
    assert f"over the {spent.rungs[0].judged} trials" in text
    low, high = bound_correlation(0.5, 30)
    assert low < 0.3 < 0.5 < 0.7 < high


def test_the_best_of_a_random_half_is_as_it_is_drawn(study: Study) -> None:
    text = answer_more_trials(study)[1]
    values = np.array([trial.metrics["valid_loss"] for trial in study.ranking])
    draw = np.random.default_rng(0)
    halves = [draw.choice(values, len(values) // 2, replace=False).min() for _ in range(20_000)]
    gains = 1 - values.min() / np.array(halves)
    typical, most = (
        float(figure) / 100
        for figure in re.findall(r"([\d.]+)% worse or more in one case of two, ([\d.]+)%", text)[0]
    )
    for told, quantile in ((typical, 0.5), (most, 0.9)):
        near = np.quantile(gains, [quantile - 0.03, quantile + 0.03])
        assert near[0] - 5e-4 <= told <= near[1] + 5e-4


def test_where_the_time_went_is_the_efficiency(study: Study) -> None:
    assert study.efficiency
    assert answer_time(study)[1].startswith(f"{study.efficiency.efficiency:.1%} of the slots' time")


def test_a_lead_is_called_luck_until_it_is_told_from_it(tmp_path: Path) -> None:
    for search in ("random", "tpe"):
        for seed in (0, 1):
            write_study(tmp_path / f"{search}{seed}", 4, search=search, seed=seed)
    studies = load_all(sorted(tmp_path.iterdir()))
    groups = group_studies(studies)
    text = answer_comparison(groups, compare_groups(groups), "valid_loss", "min")[1]
    assert "too few studies to tell" in text
    assert f"{groups[0].mean:.4g}" in text
    assert "studies of one search" in answer_comparison(groups[:1], [], "valid_loss", "min")[1]
    many = [replace(groups[0], bests=(1.0, 1.1, 1.2, 1.3)), replace(groups[1], bests=(2, 3, 4, 5))]
    told = answer_comparison(many, compare_groups(many), "valid_loss", "min")[1]
    assert "is hardly luck (p 0.029)" in told
    page = write_report(studies, tmp_path / "out").html.read_text()
    questions = ("hyperparameter mattered?", "stopping right?", "trials help?", "that luck?")
    for question in (*questions, "Where did the time go?"):
        assert page.count(question) == len(studies)


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
