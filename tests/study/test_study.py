"""Studies: trials, tables, the best trial, and efficiency."""

import math
from pathlib import Path
from typing import Any

import pytest

from raytune_yesno.errors import InputError
from raytune_yesno.report import write_report
from raytune_yesno.study import Study, join_trials, load, load_all, name_studies
from raytune_yesno.study.store import StudyStore


class Writer:
    """Write the events of a study with a simulated clock."""

    def __init__(self, folder: Path, slots: int = 2) -> None:
        self.store = StudyStore(folder)
        self.now = 90.0
        self.attempts: dict[int, int] = {}
        self.write("study", format=1, slots=slots, config={"task": "sine"}, corpus={})

    def write(self, event: str, **fields: Any) -> None:
        self.store.append(event, **{"time": self.now, **fields})

    def ask(self, trial: int, **point: Any) -> None:
        self.write("asked", trial=trial, point=point or {"learning_rate": 0.1})

    def start(self, trial: int) -> None:
        self.attempts[trial] = self.attempts.get(trial, 0) + 1
        self.write("started", trial=trial, attempt=self.attempts[trial])

    def epoch(self, trial: int, epoch: int, valid_loss: float, **fields: Any) -> None:
        self.now = fields.get("ended", self.now + 1)
        measured = {"host": "here", "pid": 1, "began": self.now - 1, "ended": self.now}
        metrics = {"train_loss": 2 * valid_loss, "valid_loss": valid_loss, "seconds": 0.5}
        self.write(
            "epoch",
            trial=trial,
            epoch=epoch,
            attempt=self.attempts[trial],
            **{**metrics, **measured, **fields},
        )

    def run(self, trial: int, *losses: float, status: str = "done", **fields: Any) -> None:
        """Write all events of a trial."""
        self.ask(trial)
        self.start(trial)
        for epoch, loss in enumerate(losses, start=1):
            self.epoch(trial, epoch, loss, **fields)
        if status != "running":
            error = {"error": "OSError: no"} if status == "failed" else {}
            self.write("ended", trial=trial, status=status, **error)

    def load(self) -> Study:
        return load(self.store.path.parent)


@pytest.fixture
def writer(tmp_path: Path) -> Writer:
    return Writer(tmp_path / "study")


class TestTrials:
    def test_a_finished_study(self, writer: Writer) -> None:
        writer.run(0, 3.0, 1.0, 2.0)
        writer.run(1, 5.0, status="stopped")
        writer.run(2, status="failed")
        writer.write("searched")
        writer.write("refitted", checkpoint="refit/last", epochs=2, trial=0)
        study = writer.load()
        assert [trial.status for trial in study.trial_list] == ["done", "stopped", "failed"]
        assert study.searched
        assert study.settings["config"] == {"task": "sine"}
        assert study.refit is not None
        assert study.refit["checkpoint"] == "refit/last"
        first, _, failed = study.trial_list
        assert first.best_epoch is not None
        assert first.best_epoch["epoch"] == 2
        assert first.metrics == {"epoch": 2, "train_loss": 2.0, "valid_loss": 1.0, "seconds": 0.5}
        assert first.seconds == 1.5
        assert (failed.error, failed.metrics, failed.seconds) == ("OSError: no", {}, 0)

    def test_the_table_of_trials_has_a_row_per_trial(self, writer: Writer) -> None:
        writer.run(0, 3.0, 1.0, 2.0, valid_wer=0.5)
        writer.run(1, status="failed")
        table = writer.load().trials
        assert table["trial"].tolist() == [0, 1]
        first, failed = table.to_dict("records")
        assert {key: first[key] for key in ("status", "epochs", "best_epoch", "attempts")} == {
            "status": "done",
            "epochs": 3,
            "best_epoch": 2,
            "attempts": 1,
        }
        assert (first["train_loss"], first["valid_loss"], first["valid_wer"]) == (2.0, 1.0, 0.5)
        assert (first["seconds"], first["config.learning_rate"]) == (1.5, 0.1)
        assert (failed["epochs"], failed["error"]) == (0, "OSError: no")
        assert math.isnan(failed["valid_loss"])

    def test_the_table_of_epochs_has_a_row_per_epoch(self, writer: Writer) -> None:
        writer.run(0, 3.0, 1.0)
        writer.run(1, 4.0)
        table = writer.load().epochs
        assert table["trial"].tolist() == [0, 0, 1]
        assert table["epoch"].tolist() == [1, 2, 1]
        assert table["valid_loss"].tolist() == [3.0, 1.0, 4.0]
        assert (table["ended"] > table["began"]).all()
        assert not {"event", "time"} & set(table.columns)

    def test_empty_tables_have_their_columns(self, writer: Writer) -> None:
        study = writer.load()
        assert len(study.trials) == len(study.epochs) == 0
        assert {"trial", "status", "valid_loss"} <= set(study.trials.columns)
        assert {"trial", "epoch", "valid_loss"} <= set(study.epochs.columns)
        assert (study.best, study.efficiency, study.searched) == (None, None, False)
        writer.run(0, status="failed")
        assert writer.load().trials["valid_loss"].isna().all()

    def test_an_empty_table_has_a_column_for_the_metric(self, tmp_path: Path) -> None:
        metrics = [{"name": "accuracy", "mode": "max"}]
        StudyStore(tmp_path).append("study", time=0.0, metrics=metrics, config={}, space={})
        study = load(tmp_path)
        for table in (study.trials, join_trials([study])):
            assert "accuracy" in table
            assert "valid_loss" not in table
        csv = write_report([study], tmp_path / "report").csv
        assert csv.read_text().splitlines()[0].split(",") == list(study.trials)

    def test_a_retried_trial_repeats_epochs(self, writer: Writer) -> None:
        writer.run(0, 5.0, 4.0, 3.0, status="running")
        writer.write("saved", trial=0, checkpoint="trials/0/1", epoch=1)
        writer.start(0)
        writer.epoch(0, 2, 4.5)
        (trial,) = writer.load().trial_list
        assert [(epoch["epoch"], epoch["valid_loss"]) for epoch in trial.epochs] == [
            (1, 5.0),
            (2, 4.5),
        ]
        assert (trial.status, trial.attempts) == ("running", 2)
        assert trial.checkpoint == ("trials/0/1", 1)

    def test_a_failed_trial_that_is_retried_is_running(self, writer: Writer) -> None:
        writer.run(0, 5.0, status="failed")
        writer.start(0)
        (trial,) = writer.load().trial_list
        assert (trial.status, trial.error) == ("running", None)

    def test_an_epoch_with_a_nan_loss_is_not_the_best(self, writer: Writer) -> None:
        writer.run(0, 3.0, math.nan, status="diverged")
        (trial,) = writer.load().trial_list
        assert trial.best_epoch is not None
        assert trial.best_epoch["epoch"] == 1

    def test_damaged_events_do_not_affect_the_others(self, writer: Writer) -> None:
        writer.ask(0)
        writer.write("epoch", trial=7, epoch=1, valid_loss=0.0)  # without an `asked` event
        writer.write("ended", trial=7, status="done")
        writer.write("ended", trial=0, status="unknown")
        with writer.store.path.open("a") as file:
            file.write('{"event": "ended", "trial": 0, "sta')
        study = writer.load()
        assert [(trial.number, trial.status) for trial in study.trial_list] == [(0, "running")]
        damaged, cut, lost = study.problems
        assert "study.jsonl:3:" in damaged
        assert damaged.endswith("began, ended, host, pid, seconds")
        assert "study.jsonl:6:" in cut
        assert lost.startswith("1 event ")
        assert (study.best, study.efficiency) == (None, None)

    def test_trials_are_ordered_by_number(self, writer: Writer) -> None:
        for number in (2, 0, 1):
            writer.run(number, 1.0)
        assert [trial.number for trial in writer.load().trial_list] == [0, 1, 2]

    def test_a_resumed_study_is_not_searched_until_it_ends(self, writer: Writer) -> None:
        states = []
        for event in ("searched", "resumed", "paused", "resumed", "searched", "refitted"):
            writer.write(event)
            states.append(writer.load().searched)
        assert states == [True, False, False, False, True, True]

    def test_a_folder_without_a_study_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="no study here"):
            load(tmp_path)


class TestBest:
    def test_has_the_lowest_validation_loss_of_any_epoch(self, writer: Writer) -> None:
        writer.run(0, 3.0, 2.0)
        writer.run(1, 1.0, 9.0, status="stopped")
        writer.run(2, 1.5)
        best = writer.load().best
        assert best is not None
        assert best.number == 1

    @pytest.mark.parametrize("status", ["failed", "diverged", "running"])
    def test_ignores_trials_that_did_not_finish(self, writer: Writer, status: str) -> None:
        writer.run(0, 2.0)
        writer.run(1, 1.0, status=status)
        best = writer.load().best
        assert best is not None
        assert best.number == 0

    def test_breaks_ties_by_word_error_rate_then_by_number(self, writer: Writer) -> None:
        writer.run(0, 1.0, valid_wer=0.3)
        writer.run(1, 1.0, valid_wer=0.1)
        writer.run(2, 1.0, valid_wer=0.1)
        best = writer.load().best
        assert best is not None
        assert best.number == 1

    def test_is_none_without_a_result(self, writer: Writer) -> None:
        writer.run(0, status="failed")
        writer.run(1, math.nan, status="diverged")
        writer.run(2, math.nan)
        assert writer.load().best is None


def write_timeline(writer: Writer, *, lost_process: bool = False) -> None:
    """Write three trials on two processes, from second 100 to 140; the study began at 90.

    With ``lost_process`` there is a fourth trial on a third process.
    """
    for trial in (0, 1, 2):
        writer.ask(trial)
        writer.start(trial)
    writer.epoch(0, 1, 1.0, pid=1, began=100.0, ended=110.0, seconds=8.0)
    writer.epoch(0, 2, 1.0, pid=1, began=111.0, ended=120.0, seconds=9.0)
    writer.epoch(1, 1, 1.0, pid=2, began=104.0, ended=124.0, seconds=20.0)
    writer.epoch(2, 1, 1.0, pid=1, began=123.0, ended=133.0, seconds=10.0)
    if lost_process:
        writer.ask(3)
        writer.start(3)
        writer.epoch(3, 1, 1.0, pid=3, began=127.0, ended=139.0, seconds=12.0)
    writer.write("searched", time=140.0)


SPENT_S = {"efficiency": 47, "startup": 4, "reporting": 3, "gaps": 3, "tail": 23}


class TestEfficiency:
    def shares(self, study: Study) -> dict[str, float]:
        assert study.efficiency is not None
        shares = {name: getattr(study.efficiency, name) for name in SPENT_S}
        assert sum(shares.values()) == pytest.approx(1)
        return shares

    def test_shares_of_the_slots_time(self, writer: Writer) -> None:
        write_timeline(writer)
        study = writer.load()
        assert self.shares(study) == pytest.approx({key: s / 80 for key, s in SPENT_S.items()})
        assert study.efficiency is not None
        assert study.efficiency.median_gap_s == 3
        assert study.efficiency.startup_s == 10

    def test_an_unused_slot_counts_as_startup(self, tmp_path: Path) -> None:
        writer = Writer(tmp_path, slots=3)
        write_timeline(writer)
        spent = {**SPENT_S, "startup": SPENT_S["startup"] + 40}
        assert self.shares(writer.load()) == pytest.approx(
            {key: s / 120 for key, s in spent.items()}
        )

    def test_a_new_process_replaces_a_lost_one(self, writer: Writer) -> None:
        write_timeline(writer, lost_process=True)
        # It replaces process 2, which ended first: a gap of 3 s, 12 s of training, 1 s of tail.
        spent = {**SPENT_S, "efficiency": 59, "gaps": 6, "tail": 8}
        assert self.shares(writer.load()) == pytest.approx(
            {key: s / 80 for key, s in spent.items()}
        )

    def test_the_refit_is_not_part_of_the_search(self, writer: Writer) -> None:
        write_timeline(writer)
        before = self.shares(writer.load())
        writer.write("refitted", time=900.0, checkpoint="refit/last", epochs=1, trial=0)
        assert self.shares(writer.load()) == before
        # The same holds if the search is resumed later: its pause began before the refit.
        searched = writer.load().end_time
        writer.write("resumed", time=1000.0, trials=6)
        assert writer.load().pauses == [(searched, 1000.0)]

    def test_a_single_trial_has_no_gap(self, tmp_path: Path) -> None:
        writer = Writer(tmp_path, slots=1)
        writer.run(0, 1.0)
        study = writer.load()
        assert study.efficiency is not None
        assert study.efficiency.median_gap_s is None
        assert self.shares(study)["efficiency"] == pytest.approx(0.5)


class TestSeveral:
    def test_share_a_table_with_unique_names(self, tmp_path: Path) -> None:
        for name in ("a/study", "b/study"):
            Writer(tmp_path / name).run(0, 3.0, float(len(name)))
        studies = load_all([tmp_path / "a/study", tmp_path / "b/study"])
        assert name_studies(studies) == ["a/study", "b/study"]
        table = join_trials(studies)
        assert table.columns[0] == "study"
        assert table["study"].tolist() == ["a/study", "b/study"]
        assert table["valid_loss"].tolist() == [study.trials["valid_loss"][0] for study in studies]

    def test_the_same_study_twice_has_two_names(self, writer: Writer) -> None:
        assert name_studies([writer.load(), writer.load()]) == ["study", "study (2)"]

    def test_may_be_none(self) -> None:
        assert name_studies([]) == []
        assert join_trials([]).columns.tolist() == ["study"]


def test_the_metric_can_be_changed(writer: Writer) -> None:
    writer.run(0, 3.0, 1.0, valid_wer=0.2, accuracy=0.1)
    writer.run(1, 2.0, valid_wer=0.1, accuracy=0.3)
    folder = writer.store.path.parent
    assert [trial.number for trial in load(folder).ranking] == [0, 1]
    assert [trial.number for trial in load(folder, metric="valid_wer").ranking] == [1, 0]
    maximized = load(folder, metric="accuracy", mode="max")
    assert [trial.number for trial in maximized.ranking] == [1, 0]
    assert load(folder, metric="no such").best is None


def test_progress_of_long_records_is_reported(writer: Writer) -> None:
    writer.ask(0)
    writer.start(0)
    for epoch in range(5100):
        writer.epoch(0, epoch, 1.0)
    calls: list[tuple[int, int]] = []
    load(writer.store.path.parent, progress=lambda done, total: calls.append((done, total)))
    (done, total) = calls[0]
    assert 0 < done < total


def test_a_study_is_read_from_a_uri(writer: Writer) -> None:
    writer.run(0, 3.0, 1.0)
    uri = (writer.store.path.parent).as_uri()
    study = load(uri)
    assert study.name == "study"
    assert study.trials["valid_loss"].tolist() == [1.0]
    with pytest.raises(InputError, match="nowhere"):
        load(uri + "/nowhere")
