"""What several studies of the same objectives say together."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers.fronts import write_front

from raytune_yesno import pareto
from raytune_yesno.commands.report import summarize
from raytune_yesno.report import write_report
from raytune_yesno.report.attainment import attain, measure_attainment, tabulate_attainment
from raytune_yesno.report.front import tabulate_front
from raytune_yesno.report.leaderboard import format_leaderboards
from raytune_yesno.report.study_groups import choose_figure, group_studies, measure_figures
from raytune_yesno.study import Study

# Accuracies, to maximise, and sizes of three studies that are repetitions of each other.
REPEATS = (
    [(0.5, 10), (0.9, 1000)],
    [(0.6, 10), (0.8, 1000)],
    [(0.7, 100), (0.95, 2000)],
)


@pytest.fixture(scope="module")
def studies(tmp_path_factory: pytest.TempPathFactory) -> list[Study]:
    folder = tmp_path_factory.mktemp("fronts")
    ours = [write_front(folder / f"auto{k}", results) for k, results in enumerate(REPEATS)]
    return [*ours, write_front(folder / "random", [(0.4, 10)], search="random")]


@pytest.mark.parametrize("count", [1, 2, 4])
def test_a_surface_bounds_what_so_many_fronts_attain(count: int) -> None:
    generator = np.random.default_rng(count)
    fronts = [[tuple(pair) for pair in generator.integers(0, 12, (6, 2)).tolist()] for _ in "1234"]
    surface = attain(fronts, count)
    for corner in np.ndindex(13, 13):
        attained = sum(
            any(pareto.weakly_dominates(pair, corner) for pair in front) for front in fronts
        )
        inside = any(pareto.weakly_dominates(pair, corner) for pair in surface)
        assert inside == (attained >= count)
    assert len(pareto.find_front(surface)) == len(surface)


def test_fronts_that_share_nothing_leave_a_surface_empty() -> None:
    assert attain([[(0, 1)], []], 2) == []


def test_searches_are_compared_by_hypervolumes_with_one_reference_point(
    studies: list[Study],
) -> None:
    assert choose_figure(studies).name == "hypervolume"
    ours, random = group_studies(studies)
    assert (len(ours.bests), len(random.bests)) == (3, 1)
    # The worst results are 0.4 and 2000; the ranges are 0.55 and 1990.
    bound, size = 0.4 - 0.055, 2000 + 199
    assert random.bests == pytest.approx([(0.4 - bound) * (size - 10)])
    assert ours.bests[0] == pytest.approx((0.5 - bound) * (size - 10) + 0.4 * (size - 1000))
    assert not ours.log
    assert choose_figure([studies[0]]).name == "hypervolume"


def test_the_table_says_what_half_of_the_studies_reach(studies: list[Study]) -> None:
    attained = measure_attainment(studies, group_studies(studies))
    table = tabulate_attainment(attained, studies[0].objective.objectives)
    assert table.heads[0] == "size at most"
    assert {row[0]: row[1:] for row in table.rows} == {
        "10": ["0.5 (0.6 to –)", "0.4"],
        "100": ["0.6 (0.7 to 0.5)", "0.4"],
        "1000": ["0.8 (0.9 to 0.7)", "0.4"],
        "2000": ["0.9 (0.95 to 0.8)", "0.4"],
    }
    short = tabulate_attainment(attained, studies[0].objective.objectives, max_levels=2)
    assert [row[0] for row in short.rows] == ["10", "2000"]


def test_terminal_page_and_json_show_it(studies: list[Study], tmp_path: Path) -> None:
    text = format_leaderboards(studies, width=100).split("\n\nauto0")[0]
    assert "front of all studies together has 4 trials" in text
    assert "0.9 (0.95 to 0.8)" in text
    assert "hypervolume" in text
    report = write_report(studies, tmp_path)
    page = report.html.read_text()
    assert page.count('id="plot-attained"') == 1
    assert "0.9 (0.95 to 0.8)" in page
    given = [str(study.path) for study in studies]
    assert summarize(studies, given, report)["hypervolumes"] == measure_figures(studies)


def test_other_objectives_are_compared_as_before(studies: list[Study], tmp_path: Path) -> None:
    one = replace(studies[0].objective, others=())
    alone = [replace(study, objective=one) for study in studies]
    assert choose_figure(alone).name == "accuracy"
    assert measure_attainment(alone, group_studies(alone)) == []
    assert "plot-attained" not in write_report(alone, tmp_path).html.read_text().split("<script")[0]


def test_the_front_shows_the_refits_of_all_members(studies: list[Study]) -> None:
    study = studies[0]
    assert tabulate_front(study).heads == ("trial", "accuracy", "size", "x")
    refits = [
        {
            "trial": trial.number,
            "checkpoint": f"/s/refit-{trial.number}/last",
            "test": {"wer": 0.25},
        }
        for trial in study.front
    ]
    table = tabulate_front(replace(study, refits=refits))
    assert table.heads[-2:] == ("test", "checkpoint in the study")
    assert [row[-2:] for row in table.rows] == [
        ("wer 0.25", "refit-1/last"),
        ("wer 0.25", "refit-0/last"),
    ]
    assert tabulate_front(replace(study, refits=refits[:1])) == tabulate_front(study)
