"""Schedulers on a real cluster: trials that wait, are copied, interrupted and resumed."""

import functools
import json
import os
import signal
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from helpers.killing import search_and_kill
from helpers.searching import (
    METRICS,
    SMALL,
    SPACE,
    assert_close_curves,
    assert_exact,
    outcome,
    recorded_curve,
    trained_curve,
)

from raytune_yesno.config import build_config
from raytune_yesno.errors import InputError, Interrupted
from raytune_yesno.space import Choice
from raytune_yesno.study import Study, load
from raytune_yesno.study.store import STORE, read_events
from raytune_yesno.tasks.speech.corpus import Corpus
from raytune_yesno.tasks.speech.synthetic import synthesize
from raytune_yesno.training.loop import fit
from raytune_yesno.tuning import warm_start
from raytune_yesno.tuning.plan import Plan
from raytune_yesno.tuning.progress import Progress
from raytune_yesno.tuning.run import run_search
from raytune_yesno.tuning.stop_conditions import StopConditions

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("ray_cluster")]

KEPT = {"channels", "kernel_size", "hidden_units", "activation", "optimizer"}
EPOCHS = {"asha": 8, "median": 8, "fifo": 4, "hyperband": 9, "pbt": 6}


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return synthesize(10)


def build_plan(scheduler: str, trials: int, **changes: Any) -> Plan:
    config = {**SMALL, "metric": "valid_loss", "epochs": EPOCHS[scheduler], **changes}
    space = {**SPACE, "hidden_units": Choice(8, 16)}
    options = {"interval": 2} if scheduler == "pbt" else {}
    return Plan(
        build_config(config),
        space,
        search="random",
        scheduler=scheduler,
        scheduler_options=options,
        trials=trials,
        max_concurrent=2,
    )


@pytest.fixture(scope="module")
def undisturbed(
    ray_cluster: str, corpus: Corpus, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Study]:
    """Return a study of six trials with a scheduler. Each study is run only once."""

    @functools.cache
    def run(scheduler: str) -> Study:
        return run_search(build_plan(scheduler, 6), corpus, tmp_path_factory.mktemp(scheduler))

    return run


class TestTrialsThatWait:
    @pytest.fixture(params=["hyperband", "pbt"])
    @staticmethod
    def study(request: pytest.FixtureRequest, undisturbed: Callable[[str], Study]) -> Study:
        return undisturbed(request.param)

    def test_resume_from_their_epoch(self, study: Study) -> None:
        assert_exact(study, 6)
        events, _ = read_events(study.path)
        for trial in study.trial_list:
            own = [event for event in events if event.get("trial") == trial.number]
            epochs = [event["epoch"] for event in own if event["event"] == "epoch"]
            assert epochs == list(range(1, len(epochs) + 1))  # none was trained twice
            assert Counter(event["event"] for event in own)["started"] == 1
        # Trials that wait resume in the processes of the study's two slots.
        assert len({epoch["pid"] for trial in study.trial_list for epoch in trial.epochs}) <= 2
        assert (
            max(len(trial.epochs) for trial in study.trial_list)
            == study.settings["config"]["epochs"]
        )


@pytest.mark.slow
def test_an_interrupted_population_has_the_same_result(
    undisturbed: Callable[[str], Study], corpus: Corpus, tmp_path: Path
) -> None:
    interrupted: list[int] = []

    def interrupt(progress: Progress) -> None:
        if progress.epochs >= 15 and not interrupted:  # past the first copies
            interrupted.append(progress.epochs)
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(Interrupted):
        run_search(build_plan("pbt", 6), corpus, tmp_path, on_progress=interrupt)
    study = load(tmp_path)
    assert not study.searched
    assert any(trial.mutations for trial in study.trial_list)
    again = run_search(Plan.from_study(study), corpus, tmp_path, resume=True)
    assert_exact(again, 6)
    assert outcome(again) == outcome(undisturbed("pbt"))


def test_hyperband_promotes_the_best_of_a_bracket(undisturbed: Callable[[str], Study]) -> None:
    """Six trials do not fill the first bracket of nine: two are promoted, then one."""
    study = undisturbed("hyperband")
    for epochs, num_survivors in ((1, 2), (3, 1)):
        arrived = [trial for trial in study.trial_list if len(trial.epochs) >= epochs]
        arrived.sort(key=lambda trial: trial.epochs[epochs - 1]["valid_loss"])
        longer = [trial for trial in arrived if len(trial.epochs) > epochs]
        assert longer == arrived[:num_survivors]


@pytest.mark.parametrize("scheduler", ["hyperband", "asha"])
def test_a_trial_that_had_lost_when_all_was_cut_off_ends_without_a_step(
    scheduler: str, undisturbed: Callable[[str], Study], corpus: Corpus, tmp_path: Path
) -> None:
    whole = undisturbed(scheduler)
    lost = next(trial for trial in whole.trial_list if trial.status == "stopped")
    lines = (whole.path / STORE).read_text().splitlines(keepends=True)
    events = [json.loads(line) for line in lines]
    ends = {"searched": None, "ended": lost.number}
    kept = [
        line
        for line, event in zip(lines, events, strict=True)
        if event["event"] not in ends or event.get("trial") != ends[event["event"]]
    ]
    assert len(kept) == len(lines) - 2
    (tmp_path / STORE).write_text("".join(kept))
    assert not load(tmp_path).searched
    again = run_search(Plan.from_study(whole), corpus, tmp_path, resume=True)
    assert_exact(again, 6)
    assert outcome(again) == outcome(whole)


@pytest.mark.parametrize("scheduler", ["hyperband", pytest.param("pbt", marks=pytest.mark.slow)])
def test_trials_of_two_workers_wait_too(scheduler: str, corpus: Corpus, tmp_path: Path) -> None:
    plan = replace(build_plan(scheduler, 3, num_workers=2), max_concurrent=1)
    study = run_search(plan, corpus, tmp_path)
    assert_exact(study, 3)
    for trial in study.trial_list:
        assert trial.attempts == 1
        until = trial.mutations[0]["epoch"] if trial.mutations else len(trial.epochs)
        first = Plan.from_study(study).build_algorithm().suggest(trial.number, [])
        config = build_config(plan.config.as_dict(), first, {"num_workers": 1})
        curve = [
            record.metrics for _, record in zip(range(until), fit(config, corpus), strict=False)
        ]
        assert_close_curves(recorded_curve(trial)[:until], curve)


def test_pbt_copies_the_best_over_the_worst(
    undisturbed: Callable[[str], Study], corpus: Corpus
) -> None:
    study = undisturbed("pbt")
    events, _ = read_events(study.path)
    asked = {event["trial"]: event["point"] for event in events if event["event"] == "asked"}
    ranked = sorted(study.trial_list, key=lambda trial: -trial.epochs[1]["valid_loss"])
    numbers = [trial.number for trial in ranked]
    first, second = (e for e in events if e["event"] == "mutated" and e["epoch"] == 2)
    assert {first["trial"], second["trial"]} == set(numbers[:2])
    assert {first["source"], second["source"]} <= set(numbers[-2:])
    source = asked[first["source"]]
    assert first["point"] != source
    assert all(first["point"][key] == source[key] for key in KEPT & source.keys())
    # The copy continues as the original would have with the new point.
    plan = Plan.from_study(study)
    records = fit(build_config(plan.config.as_dict(), source), corpus)
    checkpoint = [next(records), next(records)][-1].checkpoint()
    config = build_config(plan.config.as_dict(), first["point"])
    expected = next(fit(config, corpus, resume=checkpoint)).metrics
    copied = study.trial_list[first["trial"]].epochs[2]
    assert {key: copied[key] for key in METRICS} == {key: expected[key] for key in METRICS}


@pytest.mark.slow
@pytest.mark.parametrize("scheduler", ["hyperband", "pbt"])
def test_a_lost_process_changes_no_verdict(
    scheduler: str, undisturbed: Callable[[str], Study], corpus: Corpus, tmp_path: Path
) -> None:
    killed: list[int] = []

    def kill(progress: Progress) -> None:
        if progress.epochs == 5 and not killed:
            running = [trial for trial in load(tmp_path).trial_list if trial.epochs]
            last = max(running, key=lambda trial: trial.epochs[-1]["time"])
            killed.append(last.epochs[-1]["pid"])
            os.kill(killed[0], signal.SIGKILL)

    study = run_search(build_plan(scheduler, 6), corpus, tmp_path, on_progress=kill)
    assert killed
    assert_exact(study, 6)
    assert outcome(study) == outcome(undisturbed(scheduler))


class TestAStudyThatIsStoppedAndExtended:
    @pytest.fixture(scope="class")
    @staticmethod
    def stopped(
        ray_cluster: str, corpus: Corpus, tmp_path_factory: pytest.TempPathFactory
    ) -> Study:
        plan = Plan(
            build_config({**SMALL, "epochs": 3}),
            SPACE,
            search="tpe",
            trials=8,
            max_concurrent=2,
            stop=StopConditions(target="loss=1e9"),
        )
        return run_search(plan, corpus, tmp_path_factory.mktemp("stopped") / "one")

    def test_says_why_and_leaves_no_trial_open(self, stopped: Study) -> None:
        assert stopped.searched
        assert stopped.reason
        assert "valid_loss" in stopped.reason
        assert 1 <= len(stopped.trial_list) < 8
        assert {trial.status for trial in stopped.trial_list} == {"stopped"}

    def test_gets_exactly_the_trials_added(self, stopped: Study, corpus: Corpus) -> None:
        known = len(stopped.trial_list)
        plan = Plan.from_study(stopped)
        unchanged = run_search(plan, corpus, stopped.path, resume=True)
        assert unchanged.trial_list == stopped.trial_list
        free = Plan(**{**vars(plan), "stop": StopConditions()})
        longer = run_search(free, corpus, stopped.path, resume=True, add_trials=2)
        assert_exact(longer, known + 2)
        assert longer.trial_list[:known] == stopped.trial_list
        assert longer.reason is None
        assert longer.settings["trials"] == known + 2

    @pytest.mark.slow
    def test_helps_another_one(self, stopped: Study, corpus: Corpus, tmp_path: Path) -> None:
        space = {**SPACE, "batch_size": Choice(2)}
        points = [trial.point for trial in stopped.trial_list if trial.epochs]
        fitting = [point for point in points if point["batch_size"] == 2]
        if not fitting:
            with pytest.raises(InputError, match="no trial could be used"):
                warm_start.gather([stopped], space, stopped.objective)
            space = SPACE
            fitting = points
        known = warm_start.gather([stopped], space, stopped.objective)
        assert [seen["point"] for seen in known["observations"]] == fitting
        config = build_config({**SMALL, "epochs": 2})
        plan = Plan(config, space, search="tpe", trials=2, max_concurrent=2, warm_start=known)
        study = run_search(plan, corpus, tmp_path / "two")
        assert_exact(study, 2)
        assert study.settings["warm_start"] == known


class TestKilled:
    """After kills of the driver at random moments, the results equal an undisturbed study's."""

    @pytest.mark.parametrize(
        ("scheduler", "kills"),
        [
            ("pbt", 2),
            *(
                pytest.param(name, 5, marks=pytest.mark.slow)
                for name in ("fifo", "asha", "median", "hyperband", "pbt")
            ),
        ],
    )
    def test_several_times(
        self,
        scheduler: str,
        kills: int,
        undisturbed: Callable[[str], Study],
        ray_cluster: str,
        corpus: Corpus,
        tmp_path: Path,
    ) -> None:
        plan = build_plan(scheduler, 6)
        killed = search_and_kill(plan, tmp_path, ray_cluster, kills, seed=len(scheduler))
        assert killed == kills
        study = load(tmp_path)
        assert_exact(study, 6)
        if scheduler in (
            "fifo",
            "hyperband",
            "pbt",
        ):  # these do not depend on the order in which trials finish
            assert outcome(study) == outcome(undisturbed(scheduler))
        for trial in study.trial_list:
            if not trial.mutations:
                assert recorded_curve(trial) == trained_curve(study, trial, corpus)
