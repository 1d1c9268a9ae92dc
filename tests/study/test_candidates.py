"""Candidates: which trainings of a point decide, and for how many epochs the refit trains."""

from typing import Any

import pytest

from raytune_yesno.study.candidates import list_candidates
from raytune_yesno.study.trial import Trial
from raytune_yesno.tuning.refit import find_shortfall


def train(number: int, epochs: int, *, begun: int | None = None, **fields: Any) -> Trial:
    """Return a finished training whose losses decrease; ``begun`` with fewer epochs planned."""
    curve = [
        {"epoch": epoch, "valid_loss": 1 / epoch, "train_loss": 2 / epoch, "seconds": 1.0}
        for epoch in range(1, epochs + 1)
    ]
    planned = [(0, begun or epochs)] + ([(begun, epochs)] if begun else [])
    return Trial(number, {"x": 1}, status="done", epochs=curve, planned=planned, **fields)


@pytest.mark.parametrize("final", [False, True])
def test_shorter_trainings_do_not_cut_the_refit_of_a_point_that_trained_on(final: bool) -> None:
    first = train(0, 80, begun=16)
    again = [train(number, 16, repeat_of=0, final=final, seed=number) for number in (1, 2)]
    [found] = list_candidates([first, *again])
    assert found.judged == (first,)
    assert found.mean == pytest.approx(1 / 80)
    assert found.epochs == 80


def test_the_final_round_of_the_longest_trainings_decides() -> None:
    first = train(0, 80, begun=16)
    old = [train(number, 16, repeat_of=0, final=True, seed=number) for number in (1, 2)]
    new = [train(number, 80, repeat_of=0, final=True, seed=number) for number in (3, 4)]
    [found] = list_candidates([first, *old, *new])
    assert found.judged == tuple(new)
    assert found.epochs == 80
    [found] = list_candidates([train(0, 16), *old, *new])  # one that was not trained on itself
    assert found.judged == tuple(new)
    assert found.epochs == 80


def test_a_refit_is_compared_with_its_trial_at_the_same_epoch() -> None:
    trial = train(0, 16)
    assert not find_shortfall(trial, trial.epochs[:9])
    assert not find_shortfall(train(0, 4), train(1, 9).epochs)
    stuck = [{**epoch, "train_loss": 2.0} for epoch in trial.epochs[:9]]
    assert "0.2222" in find_shortfall(trial, stuck)
