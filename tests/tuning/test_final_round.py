"""The final round: who is chosen, and when it is chosen again."""

from pathlib import Path
from typing import Any

import pytest
from helpers.fronts import write_front

from raytune_yesno.study import Study, load
from raytune_yesno.study.store import StudyStore
from raytune_yesno.tuning.final_round import choose_finalists

ABOUT = {"host": "here", "pid": 1, "seconds": 0.1, "began": 1.0, "ended": 1.1}


def write_study(folder: Path, losses: list[float | None]) -> Study:
    """Write a finished study of one epoch a trial; the last trial is the final round of trial 0."""
    store = StudyStore(folder)
    config = {"epochs": 1, "task": "sine"}
    store.append("study", data="", slots=1, trials=len(losses), config=config, space={})
    for number, loss in enumerate([*losses, 0.5]):
        is_final = number == len(losses)
        if is_final:
            store.append("final", points=[0], first=number)
        again = {"repeat_of": 0, "seed": 7, "final": True} if is_final else {}
        store.append("asked", trial=number, point={"x": number}, **again)
        store.append("started", trial=number, attempt=1)
        if loss is not None:
            store.append("epoch", trial=number, epoch=1, valid_loss=loss, **ABOUT)
        store.append("ended", trial=number, status="failed" if loss is None else "done")
    store.append("searched")
    return load(folder)


@pytest.mark.parametrize(
    ("change", "finalists"),
    [
        ({"trials": 3}, [0]),  # as before
        ({"trials": 4}, None),
        ({"retry": [1]}, None),
        ({"extend": {"2": 1}, "epochs": 2}, None),
        ({"retry": [3]}, [0]),  # of the final round itself
        ({"retry": [1, 3]}, None),
    ],
)
def test_the_finalists_are_chosen_again_if_the_search_has_more_results(
    change: dict[str, Any], finalists: list[int] | None, tmp_path: Path
) -> None:
    assert write_study(tmp_path, [0.1, None, 0.2]).finalists == [0]
    StudyStore(tmp_path).append("resumed", **change)
    assert load(tmp_path).finalists == finalists


def test_a_final_round_of_longer_trials_replaces_the_earlier_results(tmp_path: Path) -> None:
    assert write_study(tmp_path, [0.1, 0.2]).candidates[0].results == [0.5]
    store = StudyStore(tmp_path)
    store.append("resumed", extend={"0": 1}, epochs=2)
    store.append("epoch", trial=0, epoch=2, valid_loss=0.1, **ABOUT)
    store.append("ended", trial=0, status="done")
    store.append("final", points=[0], first=3)
    store.append("asked", trial=3, point={"x": 0}, repeat_of=0, seed=8, final=True)
    for epoch, loss in ((1, 0.4), (2, 0.3)):
        store.append("epoch", trial=3, epoch=epoch, valid_loss=loss, **ABOUT)
    store.append("ended", trial=3, status="done")
    assert load(tmp_path).candidates[0].results == [0.3]


def test_a_better_point_than_the_finalist_is_chosen_next(tmp_path: Path) -> None:
    study = write_study(tmp_path, [0.3, None, 0.4, 0.2])
    assert study.candidates[0].trial.number == 0
    assert choose_finalists(study, 1) == [3]
    assert choose_finalists(study, 2) == [0, 3]


def test_a_refused_request_to_stop_is_not_carried_out_later(tmp_path: Path) -> None:
    write_study(tmp_path, [0.1])
    request = {"request": "1.json", "action": "stop search"}
    StudyStore(tmp_path).append("requested", **request)
    assert load(tmp_path).is_stop_requested
    StudyStore(tmp_path).append("requested", **request, refused="the search has ended")
    assert not load(tmp_path).is_stop_requested


def test_points_that_keep_the_limits_are_chosen_first(tmp_path: Path) -> None:
    results = ((0.9, 10), (0.8, 9000), (0.7, 10), (0.6, 10))  # accuracy, size
    study = write_front(tmp_path, results, limits=["size<=100"])
    assert choose_finalists(study, 3) == [0, 2, 3]


def test_of_several_objectives_the_front_is_chosen_first(tmp_path: Path) -> None:
    study = write_front(tmp_path)
    front = {trial.number for trial in study.front}
    assert {*choose_finalists(study, len(front))} == front
