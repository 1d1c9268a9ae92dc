"""A small search, its curves, and what its record must hold."""

from collections import Counter
from typing import Any

import pytest

from raytune_yesno.space import Choice, Float, Space
from raytune_yesno.study import Study, Trial
from raytune_yesno.study.store import read_events
from raytune_yesno.tasks.speech.corpus import Corpus
from raytune_yesno.training.loop import fit
from raytune_yesno.tuning.refit import best_config

METRICS = ("epoch", "train_loss", "valid_loss", "valid_wer", "learning_rate")


SMALL = {"channels": (4, 8), "hidden_units": 16, "epochs": 4, "dropout": 0.0}


SPACE: Space = {"learning_rate": Float(1e-4, 3e-2, log=True), "batch_size": Choice(2, 4, 8)}


def recorded_curve(trial: Trial) -> list[dict[str, Any]]:
    return [{key: epoch[key] for key in METRICS} for epoch in trial.epochs]


def trained_curve(study: Study, trial: Trial, corpus: Corpus) -> list[dict[str, Any]]:
    """Return the loop's own result in one process, up to the trial's last epoch."""
    records = fit(best_config(study, trial), corpus)
    pairs = zip(trial.epochs, records, strict=False)
    return [{key: record.metrics[key] for key in METRICS} for _, record in pairs]


def assert_close_curves(one: list[dict[str, Any]], other: list[dict[str, Any]]) -> None:
    for ours, theirs in zip(one, other, strict=True):
        for key in METRICS:
            assert ours[key] == pytest.approx(theirs[key], rel=1e-5), (ours["epoch"], key)


def outcome(study: Study) -> list[Any]:
    """Return what must not depend on interruptions."""
    return [
        (trial.number, trial.status, trial.best_point, trial.point, recorded_curve(trial))
        for trial in study.trial_list
    ]


def assert_exact(study: Study, num_trials: int) -> None:
    """Hold a study to what its store must say, however often it was interrupted."""
    events, problems = read_events(study.path)
    assert problems == []
    assert study.searched
    assert [trial.number for trial in study.trial_list] == list(range(num_trials))
    for kind in ("asked", "ended"):
        assert Counter(e["trial"] for e in events if e["event"] == kind) == Counter(
            range(num_trials)
        )
    for trial in study.trial_list:
        own = [event for event in events if event.get("trial") == trial.number]
        assert own[-1]["event"] == "ended"
        assert [epoch["epoch"] for epoch in trial.epochs] == [*range(1, len(trial.epochs) + 1)]
