"""Studies that find nothing within the limits count against their search."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from helpers.results import write_results

from raytune_yesno.report.attainment import (
    build_attainment_payload,
    measure_attainment,
    tabulate_attainment,
)
from raytune_yesno.report.study_groups import (
    choose_figure,
    compare_groups,
    group_studies,
    measure_figures,
)
from raytune_yesno.report.summary import describe_studies
from raytune_yesno.report.tables import tabulate_groups
from raytune_yesno.study import Study

LARGE = [{"metrics": {"miss": 0.1, "size": 500}}, {"metrics": {"miss": 0.2, "size": 400}}]


def write(folder: Path, search: str, seed: int, results: list, **config: object) -> Study:
    return write_results(
        folder / f"{search}{seed}",
        results,
        metrics=("miss", "size"),
        config={"limits": ["size<=100"], "seed": seed, **config},
        search=search,
    )


def found(miss: float) -> list:
    return [{"metrics": {"miss": miss, "size": 50}}, {"metrics": {"miss": 0.6, "size": 40}}]


def write_searches(folder: Path, num: int, **config: object) -> list[Study]:
    """Write two searches; half of the studies of ``auto`` find nothing, the others the best."""
    return [
        *(
            write(folder, "auto", k, found(0.1 + k / 1000) if k < num / 2 else LARGE, **config)
            for k in range(num)
        ),
        *(write(folder, "random", k, found(0.3 + k / 1000), **config) for k in range(num)),
    ]


def describe(studies: Sequence[Study]) -> str:
    groups = group_studies(studies)
    names = [study.name for study in studies]
    return " ".join(describe_studies(studies, names, groups, compare_groups(groups)))


def test_a_hypervolume_without_a_feasible_trial_is_zero(tmp_path: Path) -> None:
    studies = write_searches(tmp_path, 10, objectives=["miss", "size"])
    figures = measure_figures(studies)
    assert figures[5:10] == [0.0] * 5
    assert all(figures[:5])
    auto, random = group_studies(studies)
    assert len(auto.bests) == len(random.bests) == 10
    assert "random + fifo was best" in describe(studies)
    attained = measure_attainment(studies, [auto, random])
    assert [each.num_studies for each in attained] == [10, 10]
    assert attained[0].worst == []
    running = write_results(
        tmp_path / "running",
        LARGE,
        metrics=("miss", "size"),
        config={"limits": ["size<=100"], "objectives": ["miss", "size"]},
        ended=False,
    )
    assert measure_figures([studies[0], running])[1] is None


def test_a_search_that_attains_nothing_has_a_column_of_dashes(tmp_path: Path) -> None:
    studies = [
        write(tmp_path, search, 0, results, objectives=["miss", "size"])
        for search, results in (("auto", LARGE), ("random", found(0.3)))
    ]
    objectives = studies[0].objective.objectives
    attained = measure_attainment(studies, group_studies(studies))
    table = tabulate_attainment(attained, objectives)
    assert "auto" in table.heads[1]
    assert {row[1] for row in table.rows} == {"–"}
    payload = build_attainment_payload(attained, objectives)
    assert payload
    assert payload["searches"][0]["best"] == []


@pytest.mark.parametrize("num", [4, 10])
def test_a_mean_over_the_studies_with_a_result_wins_nothing(tmp_path: Path, num: int) -> None:
    studies = write_searches(tmp_path, num)
    groups = group_studies(studies)
    assert compare_groups(groups) == []
    text = describe(studies)
    assert "was best" not in text
    assert f"{num // 2} of its {num} studies" in text
    assert "limits" in text
    table = tabulate_groups(groups, choose_figure(studies))
    assert table.rows[0][1] == f"{num // 2} of {num}"
    assert table.rows[1][1] == num
