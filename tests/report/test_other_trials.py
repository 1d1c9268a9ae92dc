"""Figures of one trial are not shown as those of another."""

from pathlib import Path

from helpers.results import write_results

from raytune_yesno.report.best_so_far import trace_best
from raytune_yesno.report.importance import Importance
from raytune_yesno.report.plot_data import build_payload
from raytune_yesno.report.sentences import describe_commands, describe_progress
from raytune_yesno.report.tables import tabulate_studies
from raytune_yesno.report.view import view_study
from raytune_yesno.study import load
from raytune_yesno.study.store import StudyStore
from raytune_yesno.tuning.refit import best_config


def test_the_test_of_a_trial_that_another_metric_does_not_prefer_is_named(tmp_path: Path) -> None:
    results = [{"metrics": {"loss": 0.1, "wer": 0.5}}, {"metrics": {"loss": 0.2, "wer": 0.1}}]
    write_results(tmp_path, results, metrics=("loss", "wer"))
    StudyStore(tmp_path).append(
        "refitted", trial=0, checkpoint="refit/last", epochs=1, test={"wer": 0.48}
    )
    for metric, name, cell in ((None, "Test", "0.48"), ("wer", "Test of trial 0", "")):
        study = load(tmp_path, metric=metric)
        view = view_study(study, Importance(refused="x"))
        assert (view["test_name"], "0.48" in view["test"]) == (name, True)
        table = tabulate_studies([study, study], ["a", "b"])
        assert ("0.48" in str(table.rows[0])) == bool(cell)


def test_the_command_trains_the_epochs_that_were_planned_for_the_trial(tmp_path: Path) -> None:
    """Another trial was trained longer, but is not the best."""
    results = [{"metrics": {"valid_loss": loss}} for loss in (0.1, 0.2, 0.3)]
    longer = {"event": "resumed", "slots": 1, "trials": 3, "epochs": 40, "extend": {"1": 1}}
    study = write_results(
        tmp_path,
        [{**each, "point": {"learning_rate": 0.01}} for each in results],
        metrics=("valid_loss",),
        between={2: [{"event": "searched"}, longer]},
    )
    assert study.best
    assert study.best.number == 0
    train, _, file = describe_commands(study)
    assert f"epochs={best_config(study, study.best).epochs} " in train
    assert "epochs=1 " in train
    assert "epochs: 40" in file


def test_trials_of_a_final_round_are_not_counted_among_those_of_the_search(tmp_path: Path) -> None:
    finals = [
        {"metrics": {"loss": 1.1}, "repeat_of": of, "seed": 100 + k, "final": True}
        for of in range(3)
        for k in range(4)
    ]
    searched = [{"metrics": {"loss": 1.0}}] * 10
    more = [*[{"metrics": {"loss": 1.0}}] * 5, {"metrics": {"loss": 0.2}}]
    study = write_results(
        tmp_path,
        [*searched, *finals, *more],
        between={22: [{"event": "searched"}, {"event": "resumed", "slots": 1, "trials": 16}]},
    )
    curve = trace_best(study)["trials"]
    assert [x for x, _ in curve] == [1, 16]
    assert "after 16 of 16 trials" in describe_progress(study, curve)


def test_a_metric_named_like_a_column_keeps_its_value(tmp_path: Path) -> None:
    told = {"loss": 0.1, "size": 5, "front": 9.0, "feasible": 7.0, "seed": 3.0, "f1": 0.5}
    again = {"metrics": told, "repeat_of": 0, "seed": 77}
    config = {"objectives": ["loss", "size"], "limits": ["loss<=9"]}
    study = write_results(
        tmp_path, [{"metrics": told}, again], metrics=("loss", "size"), config=config
    )
    first, second = study.trial_rows
    assert (first["front"], first["feasible"], first["seed"], second["seed"]) == (1, 1, None, 77)
    for name in ("front", "feasible", "seed"):
        assert first[f"metric.{name}"] == told[name]
    others = build_payload([study], ["study"], [], [[]])["studies"][0]["others"]
    assert {each["name"]: each["values"][0] for each in others} == {
        key: value for key, value in told.items() if key != "loss"
    }
