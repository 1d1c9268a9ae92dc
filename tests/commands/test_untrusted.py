"""Studies and checkpoints from strangers: whatever is done with them, no code of theirs runs.

In each, every file that Ray or torch would unpickle makes a folder as soon as somebody does.
"""

import json
import pickle
from pathlib import Path

import pytest
import soundfile
import torch
from helpers.builders import Attack, describe_again, make_checkpoint, write_study, write_trial
from helpers.commands import finish, start

from raytune_yesno import cli
from raytune_yesno.checkpoint import RESUME, STATE_DICT, save_checkpoint
from raytune_yesno.commands.plans import add_warm_start
from raytune_yesno.config import build_config
from raytune_yesno.study import load
from raytune_yesno.study.store import StudyStore
from raytune_yesno.tasks.speech.synthetic import synthesize
from raytune_yesno.tasks.task import find_space
from raytune_yesno.training.resume import BEST, LAST
from raytune_yesno.tuning.plan import Plan
from raytune_yesno.tuning.run import run_search

# What Ray Tune 2.60 pickles in an experiment's folder, and in those of its trials and checkpoints.
OF_EXPERIMENTS = ("tuner.pkl", "trainer.pkl", "trainable.pkl", "search_gen_state-1.json")
OF_TRIALS = ("params.pkl", "error.pkl", "dict_checkpoint.pkl", ".tune_metadata")


@pytest.fixture
def mark(tmp_path: Path) -> Path:
    """Return what exists once code has run."""
    return tmp_path / "code-has-run"


def plant(folder: Path, mark: Path) -> None:
    """Put every pickle of Ray's into a folder and those below it."""
    payload = pickle.dumps(Attack(mark))
    for place in [folder, *(path for path in folder.rglob("*") if path.is_dir())]:
        for name in (*OF_EXPERIMENTS, *OF_TRIALS, "searcher-state-1.pkl"):
            (place / name).write_bytes(payload)
    # Ray's own JSON may hold a pickle, too.
    hidden = {"_type": "CLOUDPICKLE_FALLBACK", "value": payload.hex()}
    state = {"trial_data": [[json.dumps({"stopper": hidden, "status": hidden}), "{}"]]}
    (folder / "experiment_state-1.json").write_text(json.dumps({**state, "runner_data": hidden}))


def attack_checkpoint(folder: Path, mark: Path, name: str = STATE_DICT) -> Path:
    """Write a valid checkpoint, except for code in one of its files."""
    save_checkpoint(make_checkpoint(), folder)
    torch.save({"fc1.weight": Attack(mark)}, folder / name)
    describe_again(folder)
    return folder


def refused(capfd: pytest.CaptureFixture[str], *words: str) -> str:
    """Run a command that must fail with one line."""
    capfd.readouterr()
    assert cli.main(list(words)) == 2
    (line,) = capfd.readouterr().err.splitlines()
    return line


def test_the_attacks_would_work(mark: Path, tmp_path: Path) -> None:
    from ray.tune.utils.serialization import _loads_with_cloudpickle

    plant(tmp_path, mark)
    text = (tmp_path / "experiment_state-1.json").read_text()
    _loads_with_cloudpickle(text)
    assert mark.is_dir()
    mark.rmdir()
    pickle.loads((tmp_path / "tuner.pkl").read_bytes())
    assert mark.is_dir()


@pytest.mark.parametrize("name", [STATE_DICT, RESUME])
def test_a_checkpoint_is_refused(
    name: str, mark: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    recording = tmp_path / "1.wav"
    soundfile.write(recording, [0.0] * 8000, 8000)
    folder = str(attack_checkpoint(tmp_path / "stranger", mark, name))
    plant(Path(folder), mark)
    for words in (
        ("evaluate", folder, "--data", "synthetic:10"),
        ("predict", folder, str(recording)),
    ):
        line = refused(capfd, *words)
        assert line.startswith(f"raytune-yesno: {folder}: the checkpoint is damaged (")
    assert not mark.exists()


def test_a_run_is_not_resumed(
    mark: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    here = ("--num-workers", "0", "--epochs", "1")
    assert cli.main(["train", "--set", "task=sine", *here, "--out", str(out)]) == 0
    for name in (LAST, BEST):
        attack_checkpoint(out / name, mark)
    plant(out, mark)
    line = refused(capfd, "train", "--resume", str(out))
    assert "the checkpoint is damaged (" in line
    assert "no checkpoint can be resumed" in line
    assert not mark.exists()


@pytest.mark.parametrize("kind", ["study", "experiment"])
def test_a_report_reads_text_alone(
    kind: str, mark: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / kind
    if kind == "study":
        write_study(folder, 4)
        attack_checkpoint(folder / "refit" / BEST, mark)
        attack_checkpoint(folder / "trials" / "one" / "checkpoint_1", mark)
    else:
        for number in range(2):
            attack_checkpoint(write_trial(folder, number, {"loss": 1.0}) / "checkpoint_1", mark)
    plant(folder, mark)
    export = ("--export", str(tmp_path / "t.parquet"), "--export-epochs", str(tmp_path / "e.csv"))
    assert cli.main(["report", str(folder), *export]) == 0
    assert len(load(folder).trial_list) == len(load(folder.as_uri()).trial_list) > 1
    assert not mark.exists()


@pytest.mark.parametrize("kind", ["study", "experiment"])
def test_what_a_report_shows_is_text(kind: str, tmp_path: Path) -> None:
    """Names, values, endings and errors come from the folder, and none ends up as markup."""
    evil = "<script>alert(1)</script>"
    folder = tmp_path / "stranger"
    if kind == "study":
        store = StudyStore(folder)
        store.append("study", time=0.0, slots=1, data=evil, search=evil, scheduler=evil)
        store.append("asked", trial=0, point={evil: evil})
        store.append("epoch", trial=0, epoch=1, valid_loss=1.0, **{evil: 1.0})
        store.append("ended", trial=0, status=evil, error=evil)
    else:
        write_trial(folder, 0, {"loss": 1.0, evil: 1.0}, config={evil: evil}, error=evil)
        states = [
            [json.dumps({"relative_logdir": next(folder.iterdir()).name, "status": evil}), ""]
        ]
        (folder / "experiment_state-1.json").write_text(json.dumps({"trial_data": states}))
    assert (
        cli.main(["report", str(folder), "--metric", "loss" if kind != "study" else "valid_loss"])
        == 0
    )
    page = (folder / "report.html").read_text()
    assert "alert(1)" in page
    assert evil not in page
    assert page.count("<script") == 2  # the data and the code


@pytest.mark.ray
def test_a_study_is_resumed_without_what_it_brought(
    ray_cluster: str, mark: Path, tmp_path: Path
) -> None:
    """Its unfinished trial and its refit restart where their checkpoints hold code."""
    out = tmp_path / "study"

    def tune(*words: str) -> str:
        log = tmp_path / "log"
        ended = finish(start("tune", *words, "--address", ray_cluster, log=log), log)
        assert ended.code == 0, ended.err
        return ended.err

    config = build_config({"epochs": 2, "channels": (2, 3), "hidden_units": 4})
    plan = Plan(
        config, find_space(config), search="random", scheduler="fifo", trials=1, max_concurrent=1
    )
    run_search(plan, synthesize(10), out, source="synthetic:10")
    store = StudyStore(out)
    store.append("asked", trial=1, point=load(out).trial_list[0].point)
    store.append("started", trial=1, attempt=1)
    checkpoint = attack_checkpoint(out / "trials" / "one" / "checkpoint_1", mark)
    store.append("saved", trial=1, checkpoint=str(checkpoint), epoch=1)
    for name in (LAST, BEST):
        attack_checkpoint(out / "refit" / name, mark)
    plant(out, mark)
    said = tune("--resume", str(out), "--add-trials", "1")
    assert "the checkpoint is damaged (" in said
    assert [trial.status for trial in load(out).trial_list] == ["done"] * 3
    assert not mark.exists()
    plant(out, mark)
    known = add_warm_start(Plan.from_study(load(out)), [str(out)], None).warm_start
    assert known
    assert len(known["observations"]) == 3
    assert not mark.exists()
