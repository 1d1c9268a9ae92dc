"""The final round: what is chosen, and what is said of the search's best result."""

import re
from pathlib import Path

import numpy as np
import pytest
from helpers.results import write_results

from raytune_yesno.report.leaderboard import format_leaderboard
from raytune_yesno.report.luck import describe_luck, estimate_means, measure_luck
from raytune_yesno.study import Study, Trial


def trial(number: int, loss: float, of: int | None = None, *, final: bool = True) -> Trial:
    losses = (loss + 0.1, loss)
    epochs = [{"epoch": n, "valid_loss": y, "seconds": 1.0} for n, y in enumerate(losses, start=1)]
    point = {"learning_rate": 1e-3 * (1 + (number if of is None else of))}
    seed = None if of is None else 100 + number // 2  # final rounds of two points share them
    is_final = final and of is not None
    return Trial(number, point, "done", epochs, repeat_of=of, seed=seed, final=is_final)


def build_study(trials: list[Trial]) -> Study:
    return Study(Path("study"), {"time": 0.0}, trials, None, True, 9.0, [], [])


def lucky_study() -> Study:
    """Return a study whose best result, trial 1, was luck, and whose trial 2 is the best."""
    first = [trial(0, 0.9), trial(1, 0.10), trial(2, 0.20), trial(3, 0.3)]
    finals = [(1, 0.30), (2, 0.21), (1, 0.34), (2, 0.19), (1, 0.32), (2, 0.20)]
    return build_study([*first, *(trial(4 + n, y, of) for n, (of, y) in enumerate(finals))])


def test_the_winner_is_the_best_in_the_final_round() -> None:
    study = lucky_study()
    assert [each.trial.number for each in study.candidates] == [2, 1, 3, 0]
    assert study.best
    assert study.best.number == 2
    assert [each.number for each in study.ranking] == [1, 2, 3, 0]
    assert re.findall(r"<tr><td>(\d+)</td>", study._repr_html_()) == ["2", "1", "3", "0"]


def test_the_search_s_best_is_compared_with_its_repeats() -> None:
    study = lucky_study()
    luck = measure_luck(study)
    assert luck
    assert (luck.trial, luck.chosen, luck.repeats) == (1, 2, 3)
    assert luck.flattery == pytest.approx(0.22)
    assert luck.low < luck.flattery < luck.high
    # Own variance 4e-4, the other's 1e-4, both of weight 2; 2 + 2 / 2 degrees of freedom.
    assert luck.high - luck.flattery == pytest.approx(2.353 * (2.5e-4 / 3) ** 0.5, rel=1e-3)
    assert luck.probability > 0.95
    for figure in ("trial 1", "0.22", "Trial 2"):
        assert figure in describe_luck(study)


def test_the_leaderboard_shows_means_in_its_order_and_ties_are_named() -> None:
    rows = format_leaderboard(lucky_study()).splitlines()
    (head,) = (row for row in rows if "mean of seeds" in row)
    first = rows[rows.index(head) + 1]
    assert first.split()[0] == "2"
    assert "(3)" in first
    close = [(1, 0.30), (2, 0.21), (1, 0.20), (2, 0.25)]
    trials = [trial(0, 0.9), trial(1, 0.1), trial(2, 0.2)]
    study = build_study([*trials, *(trial(3 + n, y, of) for n, (of, y) in enumerate(close))])
    luck = measure_luck(study)
    assert luck
    assert (luck.chosen, luck.ties) == (2, (1,))
    assert "told from trial 1" in describe_luck(study)
    clear = measure_luck(lucky_study())
    assert clear
    assert clear.ties == ()


def test_without_a_final_round_nothing_is_said() -> None:
    study = build_study([trial(0, 0.9), trial(1, 0.1)])
    assert measure_luck(study) is None
    assert describe_luck(study) == ""


def test_equal_finalists_share_the_probability() -> None:
    finals = [trial(2 + n, 0.5, n % 2) for n in range(4)]
    luck = measure_luck(build_study([trial(0, 0.4), trial(1, 0.5), *finals]))
    assert luck
    assert luck.probability == pytest.approx(0.5)


def test_finalists_without_a_new_result_are_named() -> None:
    study = lucky_study()
    for each in study.trial_list:
        if each.repeat_of == 1:
            each.status = "diverged"
    other = [trial(10 + n, 0.3, 3) for n in range(2)]
    study = build_study([*study.trial_list, *other])
    luck = measure_luck(study)
    assert luck
    assert (luck.trial, luck.lost) == (2, (1,))
    assert "trial 1" in describe_luck(study)
    alone = build_study(
        [each for each in study.trial_list if each.number < 2 or each.repeat_of == 1]
    )
    assert measure_luck(alone) is None
    assert "trial 1" in describe_luck(alone)


def test_repeats_of_the_search_count_in_its_mean() -> None:
    study = build_study([trial(0, 0.2), trial(1, 0.1), trial(2, 0.5, 1, final=False)])
    assert [each.trial.number for each in study.candidates] == [0, 1]
    assert study.candidates[1].mean == pytest.approx(0.3)


@pytest.mark.parametrize("shared", [True, False])
def test_what_a_seed_changes_for_all_points_does_not_hide_which_is_best(shared: bool) -> None:
    """Validation parts of 0.2 to 0.6, on each of which point 2 is better by 0.01."""
    parts = [0.2, 0.4, 0.6]
    finals = [
        trial(4 + 2 * n + (of == 2), part - 0.01 * (of == 2), of)
        for n, part in enumerate(parts)
        for of in (1, 2)
    ]
    if not shared:
        finals[-1].seed = 1
    luck = measure_luck(build_study([trial(0, 0.9), trial(1, 0.1), trial(2, 0.2), *finals]))
    assert luck
    assert luck.chosen == 2
    assert luck.ties == (() if shared else (1,))
    assert (luck.probability > 0.95) is shared


def test_a_point_alone_has_its_own_variance_only() -> None:
    (found,) = estimate_means([[1.0, 2.0, 3.0]])
    assert (found.mean, found.freedom) == (2.0, 2.0)
    assert found.error == pytest.approx(3**-0.5)


@pytest.mark.parametrize("seeds", [2, 3, 5])
@pytest.mark.parametrize("spread", [0.0, 1.0], ids=["equal noise", "different noise"])
def test_an_interval_of_90_percent_contains_the_mean_in_90_percent_of_cases(
    seeds: int, spread: float
) -> None:
    draw = np.random.default_rng(7)
    hits = 0
    for _ in range(1500):
        noise = np.exp(draw.normal(0, spread, size=4))
        results = noise[:, None] * draw.normal(size=(4, seeds))  # the true means are 0
        found = estimate_means(results.tolist())[0]
        hits += abs(found.mean) <= found.half_width
    assert 0.87 <= hits / 1500 <= 0.96


def write_finals(folder: Path, misses: list[float], sizes: list[int], **config: object) -> Study:
    """Write a study in which all points are trained four times more, about 0.01 worse."""
    points = [
        {"metrics": {"miss": miss, "size": size}} for miss, size in zip(misses, sizes, strict=True)
    ]
    finals = [
        {
            "metrics": {"miss": misses[of] + 0.01 + k / 1000, "size": sizes[of]},
            "repeat_of": of,
            "seed": 50 + k,
            "final": True,
        }
        for k in range(4)
        for of in range(len(misses))
    ]
    return write_results(folder, points + finals, metrics=("miss", "size"), config=config)


def test_finalists_beyond_a_limit_are_no_rivals(tmp_path: Path) -> None:
    study = write_finals(tmp_path / "two", [0.1, 0.2, 0.21], [900, 9, 9], limits=["size<=10"])
    luck = measure_luck(study)
    assert luck
    assert (luck.trial, luck.chosen) == (1, 1)
    assert luck.probability
    assert luck.probability > 0.9
    assert "finalists that keep the limits" in describe_luck(study)
    study = write_finals(tmp_path / "one", [0.1, 0.2], [900, 9], limits=["size<=10"])
    assert "only finalist" in describe_luck(study)


def test_with_several_objectives_only_the_luck_of_the_chosen_point_is_told(tmp_path: Path) -> None:
    study = write_finals(tmp_path, [0.1, 0.15, 0.5], [1000, 300, 10], objectives=["miss", "size"])
    assert study.best
    assert study.best.number == 1
    luck = measure_luck(study)
    assert luck
    assert (luck.trial, luck.chosen, luck.probability, luck.ties) == (1, 1, None, ())
    assert luck.flattery == pytest.approx(0.0115)
    text = describe_luck(study)
    assert "The chosen point, trial 1" in text
    assert "probability" not in text
