"""A study changes while it lives: failed trials are retried, the space is changed."""

import os
from argparse import Namespace
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
from ray import cloudpickle

from raytune_yesno.commands.resume_changes import change_space, select_retried
from raytune_yesno.config import build_config, declare_task, register_task
from raytune_yesno.errors import InputError
from raytune_yesno.space import Choice, Float, build_space, express_point, format_space
from raytune_yesno.study import Study, load
from raytune_yesno.study.store import StudyStore, read_events
from raytune_yesno.task_registry import TASKS
from raytune_yesno.tuning import warm_start
from raytune_yesno.tuning.plan import Plan
from raytune_yesno.tuning.plan_checks import check_all_points, check_plan
from raytune_yesno.tuning.refit import best_config
from raytune_yesno.tuning.resume import has_last_checkpoint, resume_trials
from raytune_yesno.tuning.run import build_recorder, build_searcher, run_search
from raytune_yesno.tuning.stop_conditions import OrderedStopMonitor

NARROW: dict[str, Any] = {
    "learning_rate": Float(1e-8, 1e-6, log=True),
    "hidden_units": Choice(4, 8),
}
WIDE: dict[str, Any] = {
    "learning_rate": Float(1e-8, 2e-6, log=True),
    "momentum": Float(0.0, 0.5),
}
MOODY = """
from pathlib import Path

from raytune_yesno.tasks.sine import Sine


class Moody(Sine):
    def loss(self, model, shard, progress):
        if Path(__file__).with_name("broken").exists():
            raise ValueError("the task has a bug")
        return super().loss(model, shard, progress)
"""


class TestExpress:
    config: ClassVar[dict[str, Any]] = {"learning_rate": 1e-6, "momentum": 0.0, "dropout": 0.7}

    def test_a_new_hyperparameter_has_the_value_of_the_config(self) -> None:
        point = express_point(WIDE, {"learning_rate": 1e-7, "hidden_units": 4}, self.config)
        assert point == {"learning_rate": 1e-7, "momentum": 0.0}

    def test_a_value_outside_is_refused_by_name(self) -> None:
        with pytest.raises(InputError, match="learning_rate"):
            express_point(WIDE, {"learning_rate": 1e-4}, self.config)
        with pytest.raises(InputError, match="dropout"):
            express_point({"dropout": Float(0.0, 0.5)}, {}, self.config)


def write_study(folder: Path, rates: list[float], asked: str = "", **settings: Any) -> Study:
    """Write a study of trials with these learning rates, which requests ask for if so named."""
    config = build_config({"task": "sine", "epochs": 1})
    plan = Plan(config, NARROW, trials=len(rates), search="random", scheduler="fifo")
    plan = replace(plan, **settings)
    store = StudyStore(folder)
    store.append("study", data="", corpus={}, slots=1, **plan.as_dict())
    about = {"host": "here", "pid": 1, "seconds": 0.1, "began": 1.0, "ended": 1.1, "epoch": 1}
    for number, rate in enumerate(rates):
        point = {"learning_rate": rate, "hidden_units": 4}
        store.append("asked", trial=number, point=point, request=f"{asked}{number}" * bool(asked))
        store.append("started", trial=number, attempt=1)
        store.append("epoch", trial=number, valid_loss=float(number), train_loss=1.0, **about)
        store.append("ended", trial=number, status="done")
    return load(folder)


def test_a_trial_outside_the_changed_space_does_not_win(tmp_path: Path) -> None:
    study = write_study(tmp_path, [1e-8, 1e-7, 1e-6])
    assert study.best is not None
    assert study.best.number == 0
    space = {"learning_rate": Float(5e-8, 1e-6, log=True)}
    StudyStore(tmp_path).append("resumed", trials=5, slots=1, space=format_space(space))
    changed = load(tmp_path)
    assert changed.settings["space"] == format_space(space)
    assert changed.begun_with["space"] == format_space(NARROW)
    assert changed.best is not None
    assert changed.best.number == 1
    outside = {trial.number: trial.outside for trial in changed.trial_list}
    assert "learning_rate" in (outside[0] or "")
    assert outside[1] is outside[2] is None
    assert Plan.from_study(changed).space == space


@pytest.mark.parametrize("ordered", [False, True])
def test_a_trial_outside_stops_nothing_and_is_shown_as_no_best(
    ordered: bool, tmp_path: Path
) -> None:
    write_study(tmp_path, [1e-8, 1e-7])  # the losses are 0 and 1
    space = {"learning_rate": Float(5e-8, 1e-6, log=True)}
    changes = {"trials": 9, "patience": 2, "target": "loss=0", "space": format_space(space)}
    StudyStore(tmp_path).append("resumed", slots=1, **changes)
    study, store = load(tmp_path), StudyStore(tmp_path)
    plan = replace(Plan.from_study(study), scheduler="asha", ordered=ordered)
    plan = replace(plan, config=replace(plan.config, epochs=4))
    recorder = build_recorder(plan, study, store, 1, lambda progress: None, print)
    assert recorder.progress.ended["done"] == recorder.progress.epochs == 2
    assert recorder.progress.best_trial == 1
    about = {"host": "here", "pid": 1, "seconds": 0.1, "began": 1.0, "ended": 1.1, "epoch": 1}
    for number, loss in enumerate([0.9, 0.8, 0.7], start=2):
        store.append("epoch", trial=number, valid_loss=loss, **about)
        store.append("ended", trial=number, status="done")
    if isinstance(recorder.monitor, OrderedStopMonitor):
        recorder.monitor.find_reason(5)
    assert recorder.monitor.found is None
    assert recorder.progress.best_trial == 4
    # No trial stops because it is worse than one that cannot win.
    states = build_searcher(plan, study, recorder, 1, None).scheduler.states
    assert [states[number].epoch for number in (0, 1)] == [0, 1]
    if ordered:  # its places in the order are kept
        assert states[0].ended


def test_trials_of_a_final_round_stop_nothing(tmp_path: Path) -> None:
    write_study(tmp_path, [1e-8, 1e-7])
    store = StudyStore(tmp_path)
    about = {"host": "here", "pid": 1, "seconds": 0.1, "began": 1.0, "ended": 1.1, "epoch": 1}
    point = {"learning_rate": 1e-8, "hidden_units": 4}
    store.append("asked", trial=2, point=point, repeat_of=0, seed=7, final=True)
    store.append("epoch", trial=2, valid_loss=0.0, train_loss=1.0, **about)
    store.append("ended", trial=2, status="done")
    study = load(tmp_path)
    assert study.trial_list[2].final
    plan = replace(Plan.from_study(study), scheduler="asha", trials=5)
    recorder = build_recorder(plan, study, store, 1, lambda progress: None, print)
    states = build_searcher(plan, study, recorder, 1, None).scheduler.states
    assert [states[number].epoch for number in (0, 1, 2)] == [1, 1, 0]


def test_a_trial_that_has_trained_its_last_epoch_is_done_when_the_search_ends(
    tmp_path: Path,
) -> None:
    study, store = write_study(tmp_path, [1e-8]), StudyStore(tmp_path)
    recorder = build_recorder(
        replace(Plan.from_study(study), trials=3), study, store, 1, lambda progress: None, print
    )
    about = {"host": "here", "pid": 1, "seconds": 0.1, "began": 1.0, "ended": 1.1}
    for number in (1, 2):
        store.append("asked", trial=number, point={"learning_rate": 1e-8, "hidden_units": 4})
        store.append("started", trial=number, attempt=1)
    recorder.store.append("epoch", trial=1, epoch=1, valid_loss=0.5, train_loss=1.0, **about)
    recorder.cut_off([1, 2])
    assert [trial.status for trial in load(tmp_path).trial_list] == ["done", "done", "stopped"]


def test_a_warm_start_fills_a_new_hyperparameter(tmp_path: Path) -> None:
    study = write_study(tmp_path, [1e-8, 1e-7])
    known = warm_start.gather([study], WIDE, study.objective)
    assert [seen["point"] for seen in known["observations"]] == [
        {"learning_rate": 1e-8, "momentum": 0.0},
        {"learning_rate": 1e-7, "momentum": 0.0},
    ]


def test_a_function_gets_a_new_hyperparameter(tmp_path: Path) -> None:
    register_task("mine:objective", lambda config: {"loss": 0.0})
    task = declare_task("mine:objective", space={"x": Float(0, 1)}, config={"metric": "loss"})
    config = build_config({"task": "mine:objective", "metric": "loss"}, declaration=task)
    plan = Plan(config, {"x": Float(0, 1)}, trials=4, search="random", scheduler="fifo")
    store = StudyStore(tmp_path)
    store.append("study", data="", corpus={}, slots=1, **plan.as_dict())
    (tmp_path / "space.yaml").write_text("x: {float: [0, 2]}\ny: {int: [1, 3]}\n")
    study = load(tmp_path)
    options = Namespace(space=str(tmp_path / "space.yaml"), add_trials=None)
    changed = change_space(Plan.from_study(study), study, options)
    check_plan(changed)
    store.append("resumed", trials=4, slots=1, space=format_space(changed.space))
    assert Plan.from_study(load(tmp_path)).as_dict() == changed.as_dict()


@pytest.mark.parametrize("search", ["random", "tpe"])
def test_requested_trials_outside_the_changed_space_are_not_counted(
    search: str, tmp_path: Path
) -> None:
    write_study(tmp_path, [1e-8, 2e-8, 6e-8], asked="request-", search=search)
    trial = resume_in({"learning_rate": Float(5e-8, 1e-6, log=True)}, tmp_path)
    assert trial["number"] == 3
    assert 5e-8 <= trial["point"]["learning_rate"] <= 1e-6


@pytest.mark.parametrize("search", ["tpe", "genetic", "pso"])
def test_results_of_other_studies_follow_a_changed_space(search: str, tmp_path: Path) -> None:
    other = write_study(tmp_path / "other", [1e-8, 1e-7, 5e-7])
    known = warm_start.gather([other], build_space(NARROW), other.objective)
    narrow = {"learning_rate": Float(5e-8, 1e-6, log=True)}
    inside = warm_start.build_observations(known, build_space(narrow))
    assert [seen.point for seen in inside] == [{"learning_rate": 1e-7}, {"learning_rate": 5e-7}]
    # What momentum the other study had is not recorded.
    for folder, space in (("a", narrow), ("b", {**narrow, "momentum": Float(0, 0.5)})):
        write_study(tmp_path / folder, [2e-8, 2e-7], search=search, warm_start=known)
        trial = resume_in(space, tmp_path / folder)
        assert trial["point"].keys() == space.keys()


def resume_in(space: dict[str, Any], folder: Path) -> Any:
    """Resume a study in another space, and return the next trial."""
    store = StudyStore(folder)
    store.append("resumed", trials=9, slots=1, space=format_space(space))
    study = load(folder)
    plan = Plan.from_study(study)
    recorder = build_recorder(plan, study, store, 1, lambda progress: None, print)
    return build_searcher(plan, study, recorder, 1, None).suggest("next")


@pytest.mark.parametrize(
    ("asked", "says"), [("9", "no trial 9"), ("0", "is done"), ("x", "failed"), ("failed", "no ")]
)
def test_a_wrong_retry_is_refused(asked: str, says: str, tmp_path: Path) -> None:
    write_study(tmp_path, [1e-8])
    StudyStore(tmp_path).append("refitted", epochs=1, trial=0)
    with pytest.raises(InputError, match=says):
        select_retried(asked, load(tmp_path))


def test_a_trial_outside_the_changed_space_is_not_retried(tmp_path: Path) -> None:
    store, study = StudyStore(tmp_path), write_study(tmp_path, [1e-8, 1e-7, 2e-8])
    for number in range(3):
        store.append("ended", trial=number, status="failed")
    narrow = {"learning_rate": Float(5e-8, 1e-6, log=True)}
    plan, said = replace(Plan.from_study(study), space=build_space(narrow)), list[str]()
    resume_trials(load(tmp_path), plan, store, 1, None, said.append, retry=[0, 1], extend=())
    assert "trained again: 1" in said[-1]
    store.append("ended", trial=1, status="failed")
    assert select_retried("failed", load(tmp_path)) == [1]
    with pytest.raises(InputError, match="trial 2 lies outside"):
        select_retried("1,2", load(tmp_path))


@pytest.mark.ray
@pytest.mark.usefixtures("ray_cluster")
def test_failed_trials_are_retried_and_the_space_is_widened(tmp_path: Path) -> None:
    file, out = tmp_path / "moody.py", tmp_path / "study"
    file.write_text(MOODY)
    (tmp_path / "broken").touch()
    TASKS.trust(f"{file}:Moody")
    config = build_config({"task": f"{file}:Moody", "epochs": 2})
    plan = Plan(config, NARROW, trials=2, search="random", scheduler="fifo", max_concurrent=1)

    variables = dict(os.environ)
    failed = run_search(plan, None, out)
    assert dict(os.environ) == variables  # another experiment of this process may need them
    assert [trial.status for trial in failed.trial_list] == ["failed"] * 2
    # The error of the user's own code is not retried, and the next trial uses the same process.
    assert [trial.attempts for trial in failed.trial_list] == [1, 1]
    causes = [event.get("cause") for event in read_events(out)[0] if event["event"] == "ended"]
    assert causes == ["user error"] * 2
    assert "bug" in (failed.trial_list[0].error or "")

    (tmp_path / "broken").unlink()
    retried = run_search(plan, None, out, resume=True, retry=select_retried("failed", load(out)))
    assert [trial.status for trial in retried.trial_list] == ["done"] * 2
    assert [trial.attempts for trial in retried.trial_list] == [2, 2]
    assert [len(trial.epochs) for trial in retried.trial_list] == [2, 2]

    told: list[str] = []
    wider = replace(Plan.from_study(retried), space=WIDE)
    study = run_search(wider, None, out, resume=True, add_trials=2, note=told.append)
    assert [set(trial.point) for trial in study.trial_list] == [
        *[{"learning_rate", "hidden_units"}] * 2,
        *[{"learning_rate", "momentum"}] * 2,
    ]
    assert [trial.status for trial in study.trial_list] == ["done"] * 4
    assert any("2 of 2" in line for line in told)
    spaces = [event["space"] for event in read_events(out)[0] if event.get("space")]
    assert spaces == [format_space(NARROW), format_space(WIDE)]
    assert not study.problems


@pytest.mark.ray
@pytest.mark.usefixtures("ray_cluster")
def test_the_best_trials_train_on_from_their_checkpoints(tmp_path: Path) -> None:
    config = build_config({"task": "sine", "epochs": 3, "lr_decay": 1.0})
    options: dict[str, Any] = {"search": "random", "scheduler": "asha", "max_concurrent": 1}
    options["scheduler_options"] = {"grace_period": 2}
    plan = Plan(config, NARROW, trials=4, keep_checkpoints=2, **options)
    first = run_search(plan, None, tmp_path, checkpoint_every_s=1000.0)
    done = [trial for trial in first.ranking if trial.status == "done"]
    kept = [trial.number for trial in done if has_last_checkpoint(trial)]
    assert kept == [trial.number for trial in done[:2]]
    folders = [path for path in (tmp_path / "trials").iterdir() if path.is_dir()]
    assert len(folders) == len(kept)

    longer = replace(Plan.from_study(first), config=replace(config, epochs=5))
    study = run_search(longer, None, tmp_path, resume=True, extend=kept[:1])
    for before, trial in zip(first.trial_list, study.trial_list, strict=True):
        if trial.number == kept[0]:
            assert trial.status == "done"
            assert [epoch["epoch"] for epoch in trial.epochs] == [1, 2, 3, 4, 5]
            # The first epochs were not trained again.
            assert trial.epochs[:3] == before.epochs
            best = trial.best_epoch
            assert best is not None
            assert best_config(study, trial).epochs == (5 if best["epoch"] > 3 else 3)
        else:
            assert trial.epochs == before.epochs
            assert best_config(study, trial).epochs == 3
    assert not study.problems


@pytest.mark.ray
@pytest.mark.usefixtures("ray_cluster")
def test_trials_that_are_trained_longer_are_not_stopped_early(tmp_path: Path) -> None:
    config = build_config({"task": "sine", "epochs": 2, "lr_decay": 1.0})
    options: dict[str, Any] = {"scheduler": "asha", "scheduler_options": {"grace_period": 1}}
    plan = Plan(config, NARROW, trials=4, search="random", max_concurrent=1, **options)
    first = run_search(plan, None, tmp_path)
    longer = replace(Plan.from_study(first), config=replace(config, epochs=4))
    # No checkpoint was kept, so these begin again; none is as good at epoch 1 as the best was.
    chosen = [trial.number for trial in first.ranking[:3]]
    study = run_search(longer, None, tmp_path, resume=True, extend=chosen)
    for number in chosen:
        assert study.trial_list[number].status == "done"
        assert len(study.trial_list[number].epochs) == 4


def test_a_search_that_ended_early_is_extended_whatever_points_it_knows(tmp_path: Path) -> None:
    study = write_study(tmp_path, [1e-8, 2e-8])
    points = [{"learning_rate": rate} for rate in (1e-8, 2e-8, 3e-8, 4e-8)]
    plan = replace(Plan.from_study(study), points=points, trials=2)
    check_plan(plan)
    with pytest.raises(InputError, match="known points"):
        check_all_points(plan)


def test_a_space_is_changed_only_where_that_makes_sense(tmp_path: Path) -> None:
    study = write_study(tmp_path / "study", [1e-8])
    (tmp_path / "space.yaml").write_text("learning_rate: {float: [1e-8, 1e-5], log: true}\n")
    plan = Plan.from_study(study)
    options = Namespace(space=str(tmp_path / "space.yaml"), add_trials=None)
    assert change_space(plan, study, options).space == {
        "learning_rate": Float(1e-8, 1e-5, log=True)
    }
    for changes, says in (
        ({"search": "grid"}, "grid"),
        ({"scheduler": "pbt"}, "pbt"),
    ):
        with pytest.raises(InputError, match=says):
            change_space(replace(plan, **changes), study, options)
    # Neither a request nor a repeat is one of the known points.
    points = [{"learning_rate": 1e-8}, {"learning_rate": 2e-8}]
    store = StudyStore(study.path)
    store.append("asked", trial=1, point=study.trial_list[0].point, request="request-1")
    store.append("asked", trial=2, point=study.trial_list[0].point, repeat_of=0, seed=7)
    with pytest.raises(InputError, match="known points"):
        change_space(replace(plan, points=points), load(study.path), options)
    store.append("searched")
    with pytest.raises(InputError, match="--add-trials"):
        change_space(plan, load(study.path), options)
    # The same command again, after a kill, changes nothing.
    changed = change_space(plan, study, options)
    assert change_space(changed, load(study.path), options) == changed


def test_reading_another_study_of_a_function_changes_no_config(tmp_path: Path) -> None:
    """The studies have different spaces, and each names a metric of its own."""
    name, studies = "mine:shared", []
    about = {"host": "here", "pid": 1, "seconds": 0.1, "began": 1.0, "ended": 1.1, "epoch": 1}
    register_task(name, lambda config: {"loss": 0.0, "valid_loss": 0.0})
    for key, metric in (("x", "loss"), ("y", "valid_loss")):
        space = {key: Float(0, 1)}
        task = declare_task(name, space=space, config={"metric": metric})
        config = build_config({"task": name, "metric": metric}, declaration=task)
        plan = Plan(config, space, trials=1)
        store = StudyStore(tmp_path / key)
        store.append("study", data="", corpus={}, slots=1, **plan.as_dict())
        store.append("asked", trial=0, point={key: 0.5})
        store.append("started", trial=0, attempt=1)
        store.append("epoch", trial=0, **{metric: 0.1}, **about)
        store.append("ended", trial=0, status="done")
        studies.append(load(tmp_path / key))
    first = Plan.from_study(studies[0]).config
    second = Plan.from_study(studies[1]).config
    check_all_points(Plan(first, {"x": Float(0, 1)}, trials=1))
    for config, key, metric in ((first, "x", "loss"), (second, "y", "valid_loss")):
        sent = cloudpickle.loads(cloudpickle.dumps(config))
        for each in (config, sent, build_config(config, {key: 0.25})):
            assert list(each.declaration.space) == [key]
            assert each.objective.metric.name == metric
    for study, key in zip(studies, ("x", "y"), strict=True):
        assert study.best is not None
        assert best_config(study, study.best).as_dict()[key] == 0.5
