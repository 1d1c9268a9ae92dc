import dataclasses
import json
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
import ray
import torch
from helpers.processes import find_processes

from raytune_yesno.checkpoint import DESCRIPTION, STATE_DICT, load_checkpoint
from raytune_yesno.cluster.ray_private import state
from raytune_yesno.cluster.reservations import list_reserved, release_reserved
from raytune_yesno.config import Config, build_config
from raytune_yesno.errors import InputError, UnfinishedError
from raytune_yesno.task_registry import TASKS
from raytune_yesno.tasks.sine import Sine
from raytune_yesno.tasks.speech.corpus import Corpus
from raytune_yesno.tasks.speech.synthetic import synthesize
from raytune_yesno.training.resume import HISTORY, find_best
from raytune_yesno.training.run import Run, run_training

SMALL = {"channels": (4, 8), "hidden_units": 16, "batch_size": 3, "epochs": 4, "dropout": 0.0}
TWO_WORKERS = {**SMALL, "num_workers": 2}
# Just above the largest rate at which gradient descent on this problem is stable.
UNSTABLE_SINE = {"task": "sine", "epochs": 5, "learning_rate": 3.7e-6, "num_workers": 0}

FAILS_ON_ONE_RANK = """
from raytune_yesno.tasks.sine import Sine

class Fails(Sine):
    def steps(self, epoch, rank, world_size):
        if epoch == 2 and rank == 1:
            raise KeyError("here")
        yield from super().steps(epoch, rank, world_size)
"""
METRICS = "from raytune_yesno.metrics import Metric\nMETRICS = (Metric('loss'),)\n"


def here(**changes: Any) -> Config:
    return build_config(SMALL, {"num_workers": 0}, changes)


def assert_same_run(one: Run, other: Run) -> None:
    """Check that two runs are equal bit for bit, without times."""
    for ours, theirs in zip(one.history, other.history, strict=True):
        assert {**ours, "seconds": 0} == {**theirs, "seconds": 0}
    for name in ("best", "last"):
        weights = [load_checkpoint(getattr(run, name)) for run in (one, other)]
        assert weights[0].epoch == weights[1].epoch
        torch.testing.assert_close(weights[0].state_dict, weights[1].state_dict, rtol=0, atol=0)
        torch.testing.assert_close(weights[0].optimizer, weights[1].optimizer, rtol=0, atol=0)


@pytest.fixture(scope="module")
def undisturbed(small_corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return run_training(here(), small_corpus, tmp_path_factory.mktemp("undisturbed"))


def test_a_run_in_this_process_computes_on_one_thread_as_a_worker_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads, loss = set(), Sine.loss

    def note_threads(*arguments: Any) -> torch.Tensor:
        threads.add(torch.get_num_threads())
        return loss(*arguments)

    monkeypatch.setattr(Sine, "loss", note_threads)
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        run_training(build_config({"task": "sine", "epochs": 1, "num_workers": 0}), None, tmp_path)
        after = torch.get_num_threads()
    finally:
        torch.set_num_threads(before)
    assert (threads, after) == ({1}, 3)


class TestARunsFolder:
    def test_holds_the_history_a_line_an_epoch(self, undisturbed: Run) -> None:
        lines = (undisturbed.last.parent / HISTORY).read_text().splitlines()
        assert [json.loads(line) for line in lines] == undisturbed.history
        assert [metrics["epoch"] for metrics in undisturbed.history] == [1, 2, 3, 4]

    def test_holds_nothing_else(self, undisturbed: Run) -> None:
        names = {path.name for path in undisturbed.last.parent.iterdir()}
        assert names == {"best", "last", HISTORY}

    def test_holds_the_best_epoch_and_the_last(self, tmp_path: Path) -> None:
        run = run_training(build_config(UNSTABLE_SINE), None, tmp_path)
        losses = [metrics["valid_loss"] for metrics in run.history]
        assert losses == sorted(losses)
        best, last = load_checkpoint(run.best), load_checkpoint(run.last)
        assert (best.epoch, last.epoch) == (3, 5)  # the first epoch that is judged
        assert best.history == run.history[:3]
        assert last.history == run.history

    def test_holds_the_last_epoch_as_the_best_where_nothing_is_validated(
        self, small_corpus: Corpus, tmp_path: Path
    ) -> None:
        run = run_training(here(epochs=2), small_corpus, tmp_path, refit=True)
        assert load_checkpoint(run.best).epoch == load_checkpoint(run.last).epoch == 2
        assert load_checkpoint(run.last).refit
        assert all("valid_loss" not in metrics for metrics in run.history)


def test_the_best_epoch_has_the_fewest_wrong_words_over_three_epochs() -> None:
    errors = [0.0, 0.5, 0.25, 0.25, 0.25, 0.25]
    epochs = [
        {"epoch": epoch, "valid_loss": 5.0 * epoch, "valid_wer": wer}
        for epoch, wer in enumerate(errors, start=1)
    ]
    diverged = {"epoch": 7, "train_loss": float("nan"), "valid_wer": 0.0}
    assert find_best(build_config().objective, [*epochs, diverged])["epoch"] == 6


def test_without_validation_the_best_epoch_is_the_last_whose_loss_is_a_number() -> None:
    losses = [3.0, 2.0, float("nan")]
    epochs = [{"epoch": epoch, "train_loss": loss} for epoch, loss in enumerate(losses, start=1)]
    assert find_best(build_config().objective, epochs)["epoch"] == 2


def test_epochs_are_told_as_they_end(small_corpus: Corpus, tmp_path: Path) -> None:
    """The checkpoint of an epoch exists when the epoch is reported."""
    told = []

    def tell(metrics: dict[str, Any]) -> None:
        told.append((metrics["epoch"], load_checkpoint(tmp_path / "last").epoch))

    run_training(here(), small_corpus, tmp_path, on_epoch=tell)
    assert told == [(1, 1), (2, 2), (3, 3), (4, 4)]


def test_a_run_that_diverges_says_so(small_corpus: Corpus, tmp_path: Path) -> None:
    config = here(optimizer="sgd", learning_rate=1e30, warmup=0.0, clip_norm=0.0)
    run = run_training(config, small_corpus, tmp_path)
    assert run.diverged
    assert len(run.history) < config.epochs
    again = run_training(config, small_corpus, tmp_path, resume=True, on_epoch=pytest.fail)
    assert again == run


class TestResuming:
    def test_ends_in_the_bits_of_a_run_left_alone(
        self, undisturbed: Run, small_corpus: Corpus, tmp_path: Path
    ) -> None:
        cut = run_training(here(), small_corpus, tmp_path, epochs=2)
        assert len(cut.history) == 2
        told: list[int] = []
        run = run_training(
            here(),
            small_corpus,
            tmp_path,
            resume=True,
            on_epoch=lambda metrics: told.append(metrics["epoch"]),
        )
        assert told == [3, 4]
        assert_same_run(run, undisturbed)
        lines = (tmp_path / HISTORY).read_text().splitlines()
        assert [json.loads(line) for line in lines] == run.history

    def test_a_finished_run_trains_nothing(self, small_corpus: Corpus, tmp_path: Path) -> None:
        run = run_training(here(), small_corpus, tmp_path)
        again = run_training(here(), small_corpus, tmp_path, resume=True, on_epoch=pytest.fail)
        assert again == run

    def test_on_another_corpus_is_refused(self, small_corpus: Corpus, tmp_path: Path) -> None:
        before = run_training(here(), small_corpus, tmp_path, epochs=1)
        other = synthesize(20, seed=1)
        with pytest.raises(InputError) as refused:
            run_training(here(), other, tmp_path, resume=True)
        assert small_corpus.fingerprint in str(refused.value)
        assert other.fingerprint in str(refused.value)
        assert load_checkpoint(tmp_path / "last").history == before.history

    @pytest.mark.parametrize("name", [STATE_DICT, DESCRIPTION])
    def test_from_a_damaged_checkpoint_resumes_from_the_best(
        self, name: str, undisturbed: Run, small_corpus: Corpus, tmp_path: Path
    ) -> None:
        run_training(here(), small_corpus, tmp_path, epochs=2)
        damaged = tmp_path / "last" / name
        damaged.write_bytes(damaged.read_bytes()[:-20])
        told: list[str] = []
        run = run_training(here(), small_corpus, tmp_path, resume=True, note=told.append)
        assert_same_run(run, undisturbed)
        (line,) = told
        assert line.startswith(f"{tmp_path / 'last'}: the checkpoint is damaged (")
        assert line.endswith(f"; resumed from epoch 2, {tmp_path / 'best'}")

    def test_a_finished_run_whose_last_checkpoint_is_damaged_is_whole_again(
        self, small_corpus: Corpus, tmp_path: Path
    ) -> None:
        run = run_training(here(), small_corpus, tmp_path, refit=True)
        (run.last / STATE_DICT).write_bytes(b"")
        again = run_training(here(), small_corpus, tmp_path, refit=True, resume=True)
        assert again == run
        assert load_checkpoint(run.last).history == run.history

    def test_keeps_the_best_epoch_that_was_saved_as_the_last_alone(
        self, small_corpus: Corpus, tmp_path: Path
    ) -> None:
        """The run was killed between writing the two checkpoints."""
        one = run_training(here(), small_corpus, tmp_path, epochs=1)
        shutil.copytree(one.best, tmp_path / "kept")
        two = run_training(here(), small_corpus, tmp_path, resume=True, epochs=2)
        assert load_checkpoint(two.best).epoch == 2
        shutil.rmtree(two.best)
        (tmp_path / "kept").rename(two.best)
        again = run_training(here(), small_corpus, tmp_path, resume=True, epochs=2)
        assert again == two
        assert load_checkpoint(two.best).epoch == 2

    def test_where_all_is_damaged_is_refused(self, small_corpus: Corpus, tmp_path: Path) -> None:
        run_training(here(), small_corpus, tmp_path, epochs=1)
        for name in ("best", "last"):
            (tmp_path / name / STATE_DICT).write_bytes(b"")
        with pytest.raises(
            InputError, match=r"last: the checkpoint is damaged.*no checkpoint can be resumed"
        ):
            run_training(here(), small_corpus, tmp_path, resume=True)

    def test_after_a_kill_between_two_renames_loses_nothing(
        self, undisturbed: Run, small_corpus: Corpus, tmp_path: Path
    ) -> None:
        cut = run_training(here(), small_corpus, tmp_path, epochs=2)
        cut.last.rename(tmp_path / ".last-abc-old")
        (tmp_path / ".last-abc").mkdir()
        run = run_training(here(), small_corpus, tmp_path, resume=True)
        assert_same_run(run, undisturbed)
        assert {path.name for path in tmp_path.iterdir()} == {"best", "last", HISTORY}

    def test_where_there_is_no_run_is_refused(self, small_corpus: Corpus, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="no checkpoint here"):
            run_training(here(), small_corpus, tmp_path, resume=True)


def break_labels(corpus: Corpus) -> Corpus:
    return dataclasses.replace(corpus, labels=((7,) * 8,) * len(corpus))


@pytest.mark.ray
@pytest.mark.usefixtures("ray_cluster")
class TestOneWorker:
    def test_ends_in_the_bits_of_the_calling_process(
        self, undisturbed: Run, small_corpus: Corpus, tmp_path: Path
    ) -> None:
        told: list[int] = []
        run = run_training(
            build_config(SMALL),
            small_corpus,
            tmp_path,
            on_epoch=lambda metrics: told.append(metrics["epoch"]),
        )
        assert told == [1, 2, 3, 4]
        assert_same_run(run, undisturbed)
        assert {path.name for path in tmp_path.iterdir()} == {"best", "last", HISTORY}

    def test_lost_twice_then_cut_off_then_resumed_ends_in_the_same_bits(
        self, undisturbed: Run, small_corpus: Corpus, tmp_path: Path
    ) -> None:
        killed: list[int] = []

        def kill(metrics: dict[str, Any]) -> None:
            if len(killed) < 2:
                killed.extend(find_processes("ray::TrainWorker"))
                os.kill(killed[-1], signal.SIGKILL)

        config = build_config(SMALL)
        cut = run_training(config, small_corpus, tmp_path, epochs=3, on_epoch=kill)
        assert len(set(killed)) == 2
        assert len(cut.history) == 3
        run = run_training(config, small_corpus, tmp_path, resume=True)
        assert_same_run(run, undisturbed)

    def test_that_dies_in_every_epoch_ends_the_run(self, tmp_path: Path) -> None:
        task = tmp_path / "task.py"
        dies = (
            "import os\n\ndef die(config):\n    os.kill(os.getpid(), 9)\n\ndie.metrics = METRICS\n"
        )
        task.write_text(f"{METRICS}{dies}")
        TASKS.trust(f"{task}:die")
        config = build_config({"task": f"{task}:die"})
        with pytest.raises(UnfinishedError, match=r"^training failed: .*died"):
            run_training(config, None, tmp_path / "run")

    def test_failing_ends_the_run_in_one_line(self, small_corpus: Corpus, tmp_path: Path) -> None:
        said = r"^training failed: RuntimeError: index 8 is .*$"
        with pytest.raises(UnfinishedError, match=said):
            run_training(build_config(SMALL), break_labels(small_corpus), tmp_path)

    @pytest.mark.parametrize("num_workers", [0, 1])
    def test_has_the_errors_of_input_of_the_calling_process(
        self, num_workers: int, tmp_path: Path
    ) -> None:
        task = tmp_path / "task.py"
        task.write_text(
            f"{METRICS}\ndef number(config):\n    return 3\n\nnumber.metrics = METRICS\n"
        )
        TASKS.trust(f"{task}:number")
        changes = {"task": f"{task}:number", "num_workers": num_workers}
        with pytest.raises(InputError, match=r"^epoch 1: "):
            run_training(build_config(changes), None, tmp_path / "run")


@pytest.fixture(scope="module")
def two(ray_cluster: str, small_corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("two")
    return run_training(build_config(TWO_WORKERS), small_corpus, folder)


@pytest.mark.ray
@pytest.mark.usefixtures("ray_cluster")
class TestWorkers:
    def test_do_not_change_the_curve(self, two: Run, undisturbed: Run) -> None:
        for ours, theirs in zip(two.history, undisturbed.history, strict=True):
            assert ours.keys() == theirs.keys()
            for key in ("train_loss", "valid_loss", "learning_rate"):
                assert ours[key] == pytest.approx(theirs[key], rel=1e-5), (ours["epoch"], key)
            assert ours["valid_wer"] == theirs["valid_wer"]

    def test_leave_the_same_folder(self, two: Run, undisturbed: Run) -> None:
        names = [{path.name for path in run.last.parent.iterdir()} for run in (two, undisturbed)]
        assert names[0] == names[1]
        lines = (two.last.parent / HISTORY).read_text().splitlines()
        assert [json.loads(line) for line in lines] == two.history

    @pytest.mark.parametrize(
        "is_cut_off",
        [
            False,
            pytest.param(True, marks=pytest.mark.slow),  # it resumes as after the kill
        ],
    )
    def test_killed_they_end_in_the_same_bits(
        self, is_cut_off: bool, two: Run, small_corpus: Corpus, tmp_path: Path
    ) -> None:
        config = build_config(TWO_WORKERS)
        killed: list[int] = []

        def kill_one(metrics: dict[str, Any]) -> None:
            if not killed:
                killed.append(find_processes("ray::RayTrainWorker")[-1])
                os.kill(killed[0], signal.SIGKILL)

        epochs = 3 if is_cut_off else 4
        run = run_training(config, small_corpus, tmp_path, epochs=epochs, on_epoch=kill_one)
        assert killed
        assert len(run.history) == epochs
        if is_cut_off:
            run = run_training(config, small_corpus, tmp_path, resume=True)
        assert_same_run(run, two)

    @pytest.mark.slow  # above, workers are killed whose files are whole
    def test_whose_last_checkpoint_is_damaged_resume_from_the_copy(
        self, two: Run, small_corpus: Corpus, tmp_path: Path
    ) -> None:
        killed: list[int] = []

        def damage_and_kill(metrics: dict[str, Any]) -> None:
            if killed:
                return
            killed.extend(find_processes("ray::RayTrainWorker"))
            for pid in killed:  # so that no next checkpoint is written meanwhile
                os.kill(pid, signal.SIGSTOP)
            for weights in (tmp_path / ".ray").rglob(STATE_DICT):
                weights.write_bytes(weights.read_bytes()[:-9])
            for pid in killed:
                os.kill(pid, signal.SIGKILL)

        config = build_config(TWO_WORKERS)
        run = run_training(config, small_corpus, tmp_path, on_epoch=damage_and_kill)
        assert killed
        assert_same_run(run, two)

    def test_leave_nothing_reserved(self) -> None:
        kept = ray.util.placement_group([{"CPU": 1}])
        before = list_reserved()
        left = ray.util.placement_group([{"CPU": 1}])
        assert list_reserved() - before == {left.id.hex()}
        release_reserved([left.id.hex()])
        assert list_reserved() == before >= {kept.id.hex()}
        release_reserved([kept.id.hex()])

    def test_failing_end_the_run_with_the_lines_of_the_task(self, tmp_path: Path) -> None:
        task = tmp_path / "task.py"
        task.write_text(FAILS_ON_ONE_RANK)
        TASKS.trust(f"{task}:Fails")
        config = build_config({"task": f"{task}:Fails", "num_workers": 2})
        with pytest.raises(UnfinishedError, match=r"^training failed: KeyError: 'here' ") as found:
            run_training(config, None, tmp_path / "run")
        assert any("raise KeyError" in line for line in found.value.args)

    @pytest.mark.usefixtures("two")
    def test_have_no_processes_beside_them_that_they_do_not_use(self) -> None:
        own = ray.get_runtime_context().get_job_id()  # other tests' commands use the cluster, too
        actors = [each for each in state.actor_table(None).values() if each["JobID"] == own]
        started = " ".join(sorted(actor["ActorClassName"] for actor in actors))
        assert "TrainController" in started
        assert "DatasetManager" not in started
        assert "PlacementGroupCleaner" not in started
