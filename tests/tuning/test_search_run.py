"""Studies on a real cluster: records, results, and recovery from failures."""

import json
import os
import shutil
import signal
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from helpers.processes import find_processes, outlive
from helpers.searching import SMALL, SPACE, assert_close_curves, recorded_curve, trained_curve

from raytune_yesno.checkpoint import STATE_DICT, load_checkpoint
from raytune_yesno.cluster.session import count_fitting, worker_bundles
from raytune_yesno.config import build_config
from raytune_yesno.errors import InputError, WorkError
from raytune_yesno.space import Choice, Float
from raytune_yesno.study import Study, load
from raytune_yesno.study.store import STORE, read_events
from raytune_yesno.tasks.speech.corpus import Corpus
from raytune_yesno.tasks.speech.evaluation import evaluate
from raytune_yesno.tasks.speech.recognizer import Recognizer
from raytune_yesno.tasks.speech.synthetic import synthesize
from raytune_yesno.training.run import run_training
from raytune_yesno.tuning.plan import Plan
from raytune_yesno.tuning.progress import Progress
from raytune_yesno.tuning.refit import best_config, is_part, run_refit
from raytune_yesno.tuning.run import run_search

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("ray_cluster")]

# One trial that learns, then trials that asha stops at the first rung because they do not.
GOOD, *POOR = POINTS = [
    {"learning_rate": 0.01},
    {"learning_rate": 1e-6},
    {"learning_rate": 2e-6},
    {"learning_rate": 3e-6},
    {"learning_rate": 4e-6},
    {"learning_rate": 5e-6},
]


def build_plan(**options: Any) -> Plan:
    changes = {**SMALL, **options.pop("config", {})}
    return Plan(**{"config": build_config(changes), "space": SPACE, "max_concurrent": 2, **options})


def build_manual_plan(points: list[dict[str, Any]], **options: Any) -> Plan:
    """Return a plan that tries these points in order."""
    space: dict[str, Any] = {
        "learning_rate": Float(1e-6, 1e30, log=True),
        "optimizer": Choice("sgd", "adamw"),
        "hidden_units": Choice(16, 65_536),
        "channels": Choice([4, 8], [4, 4096]),
    }
    return build_plan(space=space, search="manual", search_options={"points": points}, **options)


def events_of(study: Study, number: int) -> list[str]:
    events, problems = read_events(study.path)
    assert not problems
    return [event["event"] for event in events if event.get("trial") == number]


class TestAStudy:
    @pytest.fixture(scope="class")
    @staticmethod
    def kept() -> list[int]:
        """Return how many trials had checkpoints, each time when that was looked at."""
        return []

    @pytest.fixture(
        scope="class",
        params=[
            ("grid", "fifo"),
            ("tpe", "asha"),
            pytest.param(("random", "asha"), marks=pytest.mark.slow),
        ],
        ids=lambda names: " and ".join(names),
    )
    @staticmethod
    def study(
        request: pytest.FixtureRequest,
        ray_cluster: str,
        small_corpus: Corpus,
        tmp_path_factory: pytest.TempPathFactory,
        kept: list[int],
    ) -> Study:
        search, scheduler = request.param
        options = {"levels": 2} if search == "grid" else {}
        plan = build_plan(search=search, search_options=options, scheduler=scheduler, trials=6)
        folder = tmp_path_factory.mktemp("study") / "new"

        def look(progress: Progress) -> None:
            weights = (folder / "trials").rglob(STATE_DICT)
            kept.append(len({file.parents[1] for file in weights}))

        return run_search(
            plan,
            small_corpus,
            folder,
            source="synthetic:20",
            checkpoint_every_s=0,
            on_progress=look,
        )

    def test_records_every_trial_once(self, study: Study) -> None:
        assert study.searched
        assert [trial.number for trial in study.trial_list] == list(range(6))
        assert len({json.dumps(trial.point) for trial in study.trial_list}) == 6
        events, _ = read_events(study.path)
        counts = Counter(event["event"] for event in events)
        for once in ("asked", "started", "ended"):
            assert counts[once] == 6

    def test_records_events_in_their_order(self, study: Study) -> None:
        events, _ = read_events(study.path)
        assert events[0]["event"] == "study"
        assert events[-1]["event"] == "searched"
        assert [event["time"] for event in events] == sorted(event["time"] for event in events)
        for trial in study.trial_list:
            epochs = ["epoch"] * len(trial.epochs)
            kinds = [kind for kind in events_of(study, trial.number) if kind != "saved"]
            assert kinds == ["asked", "started", *epochs, "ended"]
            assert [epoch["epoch"] for epoch in trial.epochs] == [*range(1, len(epochs) + 1)]

    def test_says_of_each_trial_how_it_ended(self, study: Study) -> None:
        for trial in study.trial_list:
            assert trial.status == ("done" if len(trial.epochs) == 4 else "stopped")
        stopped = [trial for trial in study.trial_list if trial.status == "stopped"]
        assert bool(stopped) == (study.settings["scheduler"] == "asha")

    def test_records_what_the_loop_itself_comes_to(
        self, study: Study, small_corpus: Corpus
    ) -> None:
        for trial in study.trial_list:
            assert recorded_curve(trial) == trained_curve(study, trial, small_corpus)

    def test_trains_in_no_more_processes_than_slots(self, study: Study) -> None:
        assert study.settings["slots"] == 2
        assert len({epoch["pid"] for trial in study.trial_list for epoch in trial.epochs}) <= 2

    def test_says_what_was_asked(self, study: Study, small_corpus: Corpus) -> None:
        assert Plan.from_study(study).as_dict() == {
            key: study.settings[key] for key in Plan.from_study(study).as_dict()
        }
        assert study.settings["data"] == "synthetic:20"
        assert study.settings["corpus"]["fingerprint"] == small_corpus.fingerprint

    def test_only_trials_in_flight_keep_checkpoints(self, study: Study, kept: list[int]) -> None:
        assert 1 <= max(kept) <= study.settings["slots"]

    def test_leaves_no_file_of_the_trials(self, study: Study) -> None:
        assert [path.name for path in study.path.iterdir()] == ["study.jsonl"]


class TestTrialsOfTwoWorkers:
    @pytest.fixture(scope="class")
    @staticmethod
    def study(
        ray_cluster: str, small_corpus: Corpus, tmp_path_factory: pytest.TempPathFactory
    ) -> Study:
        plan = build_manual_plan(
            POINTS,
            config={"num_workers": 2, "metric": "valid_loss"},
            scheduler="asha",
            max_concurrent=1,
        )
        return run_search(plan, small_corpus, tmp_path_factory.mktemp("study"))

    def test_have_the_result_of_one_worker(self, study: Study, small_corpus: Corpus) -> None:
        for trial in study.trial_list:
            assert_close_curves(recorded_curve(trial), trained_curve(study, trial, small_corpus))

    def test_are_stopped_early_and_their_processes_are_reused(self, study: Study) -> None:
        statuses = Counter(trial.status for trial in study.trial_list)
        assert statuses["done"] >= 1
        assert statuses["stopped"] >= 1
        assert statuses.total() == len(POINTS)
        assert all(trial.attempts == 1 for trial in study.trial_list)
        assert len({epoch["pid"] for trial in study.trial_list for epoch in trial.epochs}) == 1

    def test_killed_are_trained_again_to_the_same_bits(
        self, study: Study, small_corpus: Corpus, tmp_path: Path
    ) -> None:
        killed: dict[int, int] = {}

        def kill(progress: Progress) -> None:
            """Kill another rank during the first trial, and the actor of the second."""
            for trial in load(tmp_path).trial_list:
                if trial.number in killed or len(trial.epochs) != 2:
                    continue
                peers = find_processes("ray::RankActor")
                killed[trial.number] = trial.epochs[0]["pid"] if trial.number else peers[0]
                os.kill(killed[trial.number], signal.SIGKILL)

        plan = build_manual_plan(
            POINTS[:2], config={"num_workers": 2}, scheduler="fifo", max_concurrent=1
        )
        again = run_search(plan, small_corpus, tmp_path, on_progress=kill)
        assert sorted(killed) == [0, 1]
        for trial, undisturbed in zip(again.trial_list, study.trial_list, strict=False):
            assert trial.attempts == 2
            assert trial.status == "done"
            assert len(trial.epochs) == 4
            trained = len(undisturbed.epochs)
            assert recorded_curve(trial)[:trained] == recorded_curve(undisturbed)
        assert outlive("ray::RankActor") == []


def test_a_trial_that_diverges_or_fails_does_not_end_the_study(
    small_corpus: Corpus, tmp_path: Path
) -> None:
    points = [
        {"optimizer": "sgd", "learning_rate": 1e30},
        GOOD,
        {"hidden_units": 65_536, "channels": [4, 4096]},  # more memory than available
    ]
    plan = build_manual_plan(points, config={"warmup": 0.0}, scheduler="asha", max_concurrent=1)
    study = run_search(plan, small_corpus, tmp_path)
    diverged, good, failed = study.trial_list
    assert diverged.status == "diverged"
    assert diverged.error is None
    assert diverged.epochs[-1]["valid_loss"] is None
    assert failed.status == "failed"
    assert "memory" in failed.error
    assert "\n" not in failed.error
    assert good.status == "done"
    assert study.best is good

    # Without the good trial, there is no result.
    store = study.path / STORE
    lines = store.read_text().splitlines(keepends=True)
    store.write_text("".join(line for line in lines if json.loads(line).get("trial") != 1))
    with pytest.raises(WorkError, match="no trial has a result"):
        run_refit(load(study.path), small_corpus)


class TestASearchThatIsOver:
    @pytest.fixture(scope="class")
    @staticmethod
    def study(
        ray_cluster: str, small_corpus: Corpus, tmp_path_factory: pytest.TempPathFactory
    ) -> Study:
        return run_search(build_manual_plan([GOOD]), small_corpus, tmp_path_factory.mktemp("one"))

    def test_is_not_resumed_on_another_corpus(self, study: Study) -> None:
        other = synthesize(20, seed=1)
        with pytest.raises(InputError, match=other.fingerprint):
            run_search(Plan.from_study(study), other, study.path, resume=True)
        assert load(study.path) == study

    def test_resumed_starts_no_trial(self, study: Study, small_corpus: Corpus) -> None:
        again = run_search(Plan.from_study(study), small_corpus, study.path, resume=True)
        assert again.trial_list == study.trial_list
        assert read_events(again.path)[0][-1]["event"] == "searched"

    def test_has_no_result_if_its_refit_diverges(
        self, study: Study, small_corpus: Corpus, tmp_path: Path
    ) -> None:
        shutil.copytree(study.path, tmp_path, dirs_exist_ok=True)
        copy = load(tmp_path)
        assert copy.best
        # A config that is barely stable may diverge on more recordings.
        copy.settings["config"].update(warmup=0.0, clip_norm=0.0)
        copy.best.point.update(optimizer="sgd", learning_rate=1e30)
        with pytest.raises(WorkError, match=r"not finite after epoch 1 of \d; more trials"):
            run_refit(copy, small_corpus)
        assert load(tmp_path).refit is None

    def test_is_followed_by_a_refit_and_one_test(self, study: Study, small_corpus: Corpus) -> None:
        told: list[dict[str, Any]] = []
        refit = run_refit(study, small_corpus, on_epoch=told.append)
        (best,) = study.trial_list
        assert refit["trial"] == best.number
        assert refit["epochs"] == best.best_epoch["epoch"] == len(told)
        checkpoint = load_checkpoint(Path(refit["checkpoint"]))
        assert checkpoint.refit
        assert checkpoint.epoch == refit["epochs"]
        # Its learning rate falls until its own last epoch.
        changed = {"epochs": refit["epochs"]}
        assert checkpoint.config == build_config(best_config(study, best).as_dict(), changed)
        assert all("valid_loss" not in metrics for metrics in checkpoint.history)
        assert refit["test"] == evaluate(Recognizer(checkpoint), small_corpus, "test")
        assert refit["test"]["words"] == 80
        recorded = load(study.path).refit
        assert {key: recorded[key] for key in refit} == refit


def test_a_damaged_checkpoint_costs_epochs_and_is_told(
    small_corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []

    def disturb(progress: Progress) -> None:
        """Once a second checkpoint is saved, flip a bit in it and kill the trial."""
        (trial,) = load(tmp_path).trial_list
        if trial.attempts == 1 and trial.checkpoint and trial.checkpoint[1] >= 2:
            weights = Path(trial.checkpoint[0], STATE_DICT)
            data = bytearray(weights.read_bytes())
            data[len(data) // 2] ^= 4
            weights.write_bytes(data)
            os.kill(trial.epochs[0]["pid"], signal.SIGKILL)

    plan = build_manual_plan([GOOD])
    study = run_search(
        plan,
        small_corpus,
        tmp_path,
        checkpoint_every_s=0.0,
        on_progress=disturb,
        note=told.append,
    )
    (trial,) = study.trial_list
    assert recorded_curve(trial) == trained_curve(study, trial, small_corpus)
    assert trial.attempts == 2
    (line,) = told
    assert "the checkpoint is damaged (" in line
    assert line.startswith("trial 0: ")
    assert study.problems == [line]


@pytest.mark.parametrize(
    "options",
    [
        {"scheduler": "asha", "ordered": True},
        pytest.param({"scheduler": "fifo"}, marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_a_trial_is_over_where_the_note_of_its_end_alone_is_missing(
    options: dict[str, Any], small_corpus: Corpus, tmp_path: Path
) -> None:
    plan = build_manual_plan([GOOD, {"learning_rate": 0.02}], max_concurrent=1, **options)
    study = run_search(plan, small_corpus, tmp_path)
    whole = study.trial_list[0]
    assert whole.status == "done"
    lines = study.path.joinpath(STORE).read_text().splitlines(keepends=True)
    ends = [n for n, line in enumerate(lines) if json.loads(line)["event"] == "ended"]
    killed = lines[: ends[0]]  # before the second trial began
    study.path.joinpath(STORE).write_text("".join(killed))
    again = run_search(plan, small_corpus, tmp_path, resume=True).trial_list
    assert [trial.status for trial in again] == [trial.status for trial in study.trial_list]
    assert [recorded_curve(trial) for trial in again] == [
        recorded_curve(trial) for trial in study.trial_list
    ]
    assert again[0].epochs == whole.epochs  # and not trained again


class TestResources:
    """The cluster shared by tests declares four CPUs and two GPUs."""

    @pytest.mark.parametrize(
        ("changes", "bundles", "slots"),
        [
            ({"num_workers": 1}, [{"CPU": 1.0}], 4),
            ({"num_workers": 2}, [{"CPU": 1.0}] * 2, 2),
            ({"num_workers": 3}, [{"CPU": 1.0}] * 3, 1),
            ({"num_workers": "2:9"}, [{"CPU": 1.0}] * 2, 2),
            ({"num_workers": 1, "use_gpu": True}, [{"CPU": 1.0, "GPU": 1.0}], 2),
            ({"num_workers": 2, "use_gpu": True}, [{"CPU": 1.0, "GPU": 1.0}] * 2, 1),
            (
                {"use_gpu": True, "gpus_per_worker": 0.125, "cpus_per_worker": 0.25},
                [{"CPU": 0.25, "GPU": 0.125}],
                16,
            ),
        ],
    )
    def test_are_counted_a_worker(
        self, changes: dict[str, Any], bundles: list[dict[str, float]], slots: int
    ) -> None:
        config = build_config(changes)
        assert worker_bundles(config) == bundles
        assert count_fitting(config) == slots

    @pytest.mark.parametrize(
        ("changes", "numbers"),
        [
            ({"num_workers": 5}, "5 workers .* 4 CPU"),
            (
                {"num_workers": 3, "use_gpu": True},
                "3 workers .* 4 CPU.* 2 GPU",
            ),
        ],
    )
    def test_that_are_not_there_are_refused_before_anything_is_written(
        self, changes: dict[str, Any], numbers: str, small_corpus: Corpus, tmp_path: Path
    ) -> None:
        with pytest.raises(InputError, match=numbers):
            run_search(build_plan(config=changes), small_corpus, tmp_path / "new")
        assert not (tmp_path / "new").exists()


def test_a_loss_that_is_no_number_is_never_the_best() -> None:
    objective = build_config({"metric": "valid_loss"}).objective
    progress = Progress(objective, asked_for=2, slots=1, epochs_per_trial=2)
    progress.take(0, {"epoch": 1, "valid_loss": float("nan")})
    assert progress.best is None
    progress.take(1, {"epoch": 1, "valid_loss": 3.0})
    progress.take(0, {"epoch": 2, "valid_loss": float("nan")})
    assert progress.best_trial == 1


def test_a_refit_that_was_cut_off_is_told_from_another(
    small_corpus: Corpus, tmp_path: Path
) -> None:
    config = build_config({**SMALL, "num_workers": 0})
    run = run_training(config, small_corpus, tmp_path, refit=True, epochs=2)
    begun = load_checkpoint(run.last)
    assert is_part(begun, config)
    for changed in ({"epochs": 1}, {"seed": 1}):
        assert not is_part(begun, build_config({**SMALL, "num_workers": 0, **changed}))
    run = run_training(config, small_corpus, tmp_path, refit=False, epochs=2)
    assert not is_part(load_checkpoint(run.last), config)


def test_a_trial_that_is_handed_a_process_that_has_died_is_given_another(tmp_path: Path) -> None:
    pids: dict[int, int] = {}

    def listen(event: dict[str, Any]) -> None:
        if event["event"] == "epoch":
            pids[event["trial"]] = event["pid"]
        elif event["event"] == "asked" and event["trial"] == 1:
            os.kill(pids[0], signal.SIGKILL)  # it waits for trial 1

    plan = build_manual_plan([GOOD, *POOR[:2]], scheduler="fifo", max_concurrent=1)
    study = run_search(plan, synthesize(10), tmp_path / "study", listen=listen)
    assert [trial.status for trial in study.trial_list] == ["done"] * 3
    assert len(set(pids.values())) == 2
