"""Ordered studies on a real cluster do not depend on slots or interruptions."""

import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from helpers.searching import SMALL, SPACE, assert_exact, outcome

from raytune_yesno.config import build_config
from raytune_yesno.errors import Interrupted
from raytune_yesno.study import Study, load
from raytune_yesno.study.store import read_events
from raytune_yesno.tasks.speech.corpus import Corpus
from raytune_yesno.tasks.speech.synthetic import synthesize
from raytune_yesno.tuning.plan import Plan
from raytune_yesno.tuning.progress import Progress
from raytune_yesno.tuning.replay import find_difference, run_replay
from raytune_yesno.tuning.run import run_search

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("ray_cluster")]


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return synthesize(10)


def build_plan(scheduler: str, slots: int, **options: Any) -> Plan:
    """Return a plan whose search uses results from the third one on."""
    return Plan(
        build_config({**SMALL, "epochs": 6}),
        SPACE,
        search="tpe",
        search_options={"num_initial": 2},
        scheduler=scheduler,
        scheduler_options={} if scheduler == "fifo" else {"grace_period": 2},
        max_concurrent=slots,
        ordered=True,
        **{"trials": 7, **options},
    )


@pytest.fixture(scope="module")
def whole(ray_cluster: str, corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> Study:
    """Return an undisturbed study on three slots."""
    return run_search(build_plan("asha", 3), corpus, tmp_path_factory.mktemp("whole"))


def ranking(study: Study) -> list[int]:
    return [trial.number for trial in study.ranking]


@pytest.mark.parametrize(
    "scheduler",
    ["asha", *(pytest.param(name, marks=pytest.mark.slow) for name in ("median", "fifo"))],
)
def test_is_the_same_on_any_number_of_slots(
    scheduler: str, whole: Study, corpus: Corpus, tmp_path: Path
) -> None:
    studies = [
        run_search(build_plan(scheduler, 1), corpus, tmp_path / "1"),
        whole
        if scheduler == "asha"
        else run_search(build_plan(scheduler, 3), corpus, tmp_path / "3"),
    ]
    for study, slots in zip(studies, (1, 3), strict=True):
        assert_exact(study, 7)
        assert study.settings["slots"] == slots
    assert outcome(studies[0]) == outcome(studies[1])
    assert ranking(studies[0]) == ranking(studies[1])
    lengths = {len(trial.epochs) for trial in studies[0].trial_list}
    assert (lengths == {6}) == (scheduler == "fifo")


def test_is_the_same_after_an_interruption_and_when_extended(
    whole: Study, corpus: Corpus, tmp_path: Path
) -> None:
    interrupted: list[int] = []

    def interrupt(progress: Progress) -> None:
        if progress.epochs >= 9 and not interrupted:
            interrupted.append(progress.epochs)
            os.kill(os.getpid(), signal.SIGINT)

    folder = tmp_path / "parts"
    with pytest.raises(Interrupted):
        run_search(build_plan("asha", 2, trials=5), corpus, folder, on_progress=interrupt)
    study = load(folder)
    assert not study.searched
    plan = Plan.from_study(study)
    assert (plan.ordered, plan.window) == (True, 4)
    study = run_search(plan, corpus, folder, resume=True)
    assert_exact(study, 5)
    study = run_search(plan, corpus, folder, resume=True, add_trials=2)
    assert_exact(study, 7)
    assert outcome(study) == outcome(whole)


def test_a_trial_trained_again_has_the_same_result(
    whole: Study, corpus: Corpus, tmp_path: Path
) -> None:
    shortest = min(whole.trial_list, key=lambda trial: len(trial.epochs))
    replay = run_replay(whole, shortest.number, corpus, tmp_path / "replay")
    assert replay.difference is None
    assert len(replay.run.history) == len(shortest.epochs)

    other = dict(shortest.epochs[-1], valid_loss=9.0)
    difference = find_difference(
        replace(shortest, epochs=[*shortest.epochs[:-1], other]), replay.run.history
    )
    assert difference is not None
    assert str(difference).startswith(f"epoch {other['epoch']}: valid_loss was 9.0 and is now ")


def test_goes_no_further_ahead_than_its_window(corpus: Corpus, tmp_path: Path) -> None:
    study = run_search(build_plan("asha", 4, window=2), corpus, tmp_path)
    assert study.settings["slots"] == 2
    events, _ = read_events(study.path)
    ended: set[int] = set()
    for event in events:
        if event["event"] == "ended":
            ended.add(event["trial"])
        elif event["event"] == "asked":
            assert ended >= set(range(event["trial"] - 1))
