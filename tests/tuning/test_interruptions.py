"""A kill between two events of a resumption or a request: nothing is lost, nothing comes twice."""

from argparse import Namespace
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from raytune_yesno.commands.resume_changes import extend_epochs, select_extended, select_retried
from raytune_yesno.config import build_config
from raytune_yesno.errors import InputError
from raytune_yesno.files.output import OutputFolder
from raytune_yesno.space import Choice, Float
from raytune_yesno.study import load
from raytune_yesno.study.requests import ENQUEUE, STOP, Request, name_request, send
from raytune_yesno.study.store import STORE, StudyStore, read_events
from raytune_yesno.tuning.plan import Plan
from raytune_yesno.tuning.request_handler import find_pending, list_pending
from raytune_yesno.tuning.resume import resume_trials
from raytune_yesno.tuning.run import run_search
from raytune_yesno.user_code import Code

SPACE: dict[str, Any] = {
    "learning_rate": Float(1e-8, 1e-6, log=True),
    "hidden_units": Choice(4, 8),
}
NARROW: dict[str, Any] = {
    "learning_rate": Float(1e-7, 1e-6, log=True),
    "momentum": Float(0.0, 0.5),
}
RATES = (1e-8, 5e-8, 2e-7, 5e-7)


def build_plan(**options: Any) -> Plan:
    config = build_config({"task": "sine", "epochs": 3})
    defaults: dict[str, Any] = {"trials": len(RATES), "search": "random", "scheduler": "fifo"}
    return Plan(config, **{"space": SPACE, **defaults, **options})


def write_study(folder: Path, plan: Plan, *statuses: str) -> StudyStore:
    """Write a study whose trials have these statuses, each with one epoch more than the former."""
    store = StudyStore(folder)
    store.append("study", data="", corpus={}, slots=1, **plan.as_dict())
    about = {"host": "here", "pid": 1, "seconds": 0.1, "began": 1.0, "ended": 1.1}
    for number, status in enumerate(statuses):
        store.append("asked", trial=number, point=build_point(number))
        store.append("started", trial=number, attempt=1)
        for epoch in range(1, 4 if status == "done" else 2):
            losses = {"valid_loss": float(number), "train_loss": 1.0 - number / 10}
            store.append("epoch", trial=number, epoch=epoch, **losses, **about)
        if status != "running":
            error = {"error": "a bug"} if status == "failed" else {}
            store.append("ended", trial=number, status=status, **error)
    return store


def build_point(number: int) -> dict[str, Any]:
    return {"learning_rate": RATES[number], "hidden_units": 4}


def resume(
    folder: Path, plan: Plan, retry: tuple[int, ...] = (), extend: tuple[int, ...] = ()
) -> list[str]:
    """Record that a study is resumed; return the remarks."""
    told: list[str] = []
    changes = {"retry": retry, "extend": extend}
    resume_trials(load(folder), plan, StudyStore(folder), 1, None, told.append, **changes)
    return told


def list_prefixes(folder: Path, first: int) -> list[list[str]]:
    """Return the record as it is after each of its events from a number on."""
    lines = (folder / STORE).read_text().splitlines(keepends=True)
    return [lines[:count] for count in range(first, len(lines) + 1)]


def test_a_kill_leaves_all_retries_and_extensions_or_none(tmp_path: Path) -> None:
    plan = build_plan()
    write_study(tmp_path, plan, "failed", "done", "failed", "done").append("searched")
    before = len((tmp_path / STORE).read_text().splitlines())
    longer = replace(plan, config=replace(plan.config, epochs=5))
    *_, line = resume(tmp_path, longer, retry=(0, 2), extend=(1, 3))
    assert "again: 0, 2" in line
    assert "epoch 5: 1, 3" in line
    prefixes = list_prefixes(tmp_path, before)
    for prefix in prefixes:
        (tmp_path / STORE).write_text("".join(prefix))
        study = load(tmp_path)
        statuses = [trial.status for trial in study.trial_list]
        is_resumed = len(prefix) > before
        assert statuses == (["running"] * 4 if is_resumed else ["failed", "done"] * 2)
        assert study.searched is not is_resumed
        assert not study.problems
    # No checkpoint was kept, so trials that are extended begin again.
    assert [trial.epochs for trial in study.trial_list] == [[]] * 4
    assert [trial.planned[-1] for trial in study.trial_list] == [(0, 5)] * 4


def test_a_kill_does_not_let_trials_outside_a_changed_space_train_on(tmp_path: Path) -> None:
    write_study(tmp_path, build_plan(), "running", "done", "running")
    before = len((tmp_path / STORE).read_text().splitlines())
    assert any("1 of 3" in line for line in resume(tmp_path, build_plan(space=NARROW)))
    resumed, *_ = list_prefixes(tmp_path, before + 1)
    (tmp_path / STORE).write_text("".join(resumed))
    resume(tmp_path, Plan.from_study(load(tmp_path)))
    study = load(tmp_path)
    assert [trial.status for trial in study.trial_list] == ["stopped", "done", "running"]


def test_an_enqueued_point_follows_the_rule_of_a_changed_space(tmp_path: Path) -> None:
    store = write_study(tmp_path, build_plan(), "done")
    for number, name in ((1, "out.json"), (2, "in.json")):
        store.append("requested", request=name, action=ENQUEUE, point=build_point(number))
    plan = build_plan(space=NARROW)
    before = len((tmp_path / STORE).read_text().splitlines())
    for _ in range(2):
        assert any("refused" in line and "learning_rate" in line for line in resume(tmp_path, plan))
        resumed, *_ = list_prefixes(tmp_path, before + 1)
        after = (tmp_path / STORE).read_text()
        (tmp_path / STORE).write_text("".join(resumed))  # killed before it was refused
    (tmp_path / STORE).write_text(after)
    study = load(tmp_path)
    default = build_config({"task": "sine"}).as_dict()["momentum"]
    point = {"learning_rate": RATES[2], "momentum": default}
    assert list_pending(study, plan) == [("in.json", point)]
    assert len(study.enqueued) == 1
    assert not any("refused" in line for line in resume(tmp_path, plan))


def test_changed_code_is_said_once(tmp_path: Path) -> None:
    plan = build_plan()
    write_study(tmp_path, plan, "done")
    told: list[str] = []
    code = Code("function", value=build_plan)
    for _ in range(2):
        before, store = load(tmp_path), StudyStore(tmp_path)
        resume_trials(before, plan, store, 1, code, told.append, retry=(), extend=())
    assert sum("code has changed" in line for line in told) == 1


def test_a_search_that_has_ended_is_not_resumed_for_its_refit(tmp_path: Path) -> None:
    plan = build_plan(trials=40)
    write_study(tmp_path, plan, "done", "done").append("searched", reason="enough")
    before = (tmp_path / STORE).read_bytes()
    study = run_search(plan, None, tmp_path, resume=True)
    assert study.searched
    assert study.reason == "enough"
    assert (tmp_path / STORE).read_bytes() == before


def test_a_study_that_is_loaded_is_not_read_again_to_resume_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, reads = build_plan(), []
    write_study(tmp_path, plan, "done").append("searched", reason="enough")
    study = load(tmp_path)

    def read(*given: Any) -> Any:
        reads.append(given)
        return read_events(*given)

    monkeypatch.setattr(import_module("raytune_yesno.study.load"), "read_events", read)
    assert run_search(plan, None, tmp_path, resume=study).reason == "enough"
    assert len(reads) == 1  # for the study that is returned


def test_a_retry_or_extension_is_repeated_without_harm_until_the_study_is_finished(
    tmp_path: Path,
) -> None:
    plan = build_plan()
    store = write_study(tmp_path, plan, "failed", "done", "running")
    assert select_retried("0,2", load(tmp_path)) == [0]
    resume(tmp_path, plan, retry=(0,))
    assert select_retried("failed", load(tmp_path)) == []
    assert select_retried("0,2", load(tmp_path)) == []
    for number in (0, 2):
        store.append("ended", trial=number, status="stopped")
    store.append("searched")

    options = Namespace(epochs=5, top=1, add_trials=None, retry=None)
    longer = extend_epochs(plan, load(tmp_path), options)
    assert select_extended(options, load(tmp_path), OutputFolder.of(tmp_path)) == [1]
    resume(tmp_path, longer, extend=(1,))
    for event in ("", "searched"):
        if event:
            store.append(event)
        again = extend_epochs(Plan.from_study(load(tmp_path)), load(tmp_path), options)
        assert again.config.epochs == 5
        assert select_extended(options, load(tmp_path), OutputFolder.of(tmp_path)) == []
    store.append("refitted", epochs=5, trial=1)
    with pytest.raises(InputError, match="more than"):
        extend_epochs(Plan.from_study(load(tmp_path)), load(tmp_path), options)
    with pytest.raises(InputError, match="no failed"):
        select_retried("failed", load(tmp_path))


@pytest.mark.parametrize(
    ("objectives", "top", "chosen"),
    [
        (["valid_loss", "train_loss"], 1, [1]),
        (["valid_loss", "train_loss"], 2, [1, 2]),
        (["valid_loss", "train_loss"], 3, [0, 1, 2]),
        (["valid_loss"], 2, [0, 1]),
    ],
)
def test_of_a_front_those_whose_checkpoints_were_kept_are_trained_longer(
    objectives: list[str],
    top: int,
    chosen: list[int],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    config = build_config({"task": "sine", "epochs": 3, "objectives": objectives})
    plan = replace(build_plan(), config=config)
    store = write_study(tmp_path, plan, *["done"] * 4)  # each is on the front
    for number in range(4):
        folder = tmp_path / "trials" / f"trial_{number}" / "checkpoint_3"
        store.append("saved", trial=number, checkpoint=str(folder), epoch=3)
        if number in (1, 2):
            folder.mkdir(parents=True)
    store.append("searched")
    options = Namespace(epochs=5, top=top)
    assert sorted(select_extended(options, load(tmp_path), OutputFolder.of(tmp_path))) == chosen
    restarts = "no checkpoint was kept of trial 0" in capsys.readouterr().err
    assert restarts is (0 in chosen)


@pytest.mark.ray
@pytest.mark.usefixtures("ray_cluster")
def test_synchronous_trials_do_not_wait_for_one_that_was_stopped(tmp_path: Path) -> None:
    plan = build_plan(scheduler="hyperband", max_concurrent=1)
    write_study(tmp_path, plan, "running", "running", "running")
    # The last trial has not been restarted when the requests are read.
    send(str(tmp_path), Request(name_request(), STOP, trial=2))
    send(str(tmp_path), Request(name_request(), ENQUEUE, point=build_point(3)))
    study = run_search(plan, None, tmp_path, resume=True)
    assert study.trial_list[2].status == "stopped"
    assert [trial.request is not None for trial in study.trial_list].count(True) == 1
    assert len(study.trial_list) == plan.num_trials + 1
    assert not any(find_pending(study))
    assert {trial.status for trial in study.trial_list} == {"done", "stopped"}


@pytest.mark.ray
@pytest.mark.usefixtures("ray_cluster")
def test_a_stopped_search_leaves_no_trial_unfinished(tmp_path: Path) -> None:
    plan = build_plan(max_concurrent=1, stop=replace(build_plan().stop, target="valid_loss=0"))
    write_study(tmp_path, plan, "running", "running", "running")
    study = run_search(plan, None, tmp_path, resume=True)
    assert "target" in (study.reason or "")
    assert [trial.status for trial in study.trial_list] == ["stopped"] * 3
