"""Bad study folders and bad experiments of Ray Tune's."""

import contextlib
import hashlib
import json
from pathlib import Path
from random import Random
from typing import Any

from raytune_yesno.config import build_config
from raytune_yesno.errors import InputError, WorkError
from raytune_yesno.report import write_report
from raytune_yesno.report.export import collect_epochs, collect_trials
from raytune_yesno.report.leaderboard import format_leaderboards
from raytune_yesno.schedulers.asynchronous import FIFO
from raytune_yesno.space import Choice, Float, Int, Space
from raytune_yesno.study import Study, load
from raytune_yesno.study.store import STORE, StudyStore
from raytune_yesno.tasks.task import check_same_data
from raytune_yesno.tuning import warm_start
from raytune_yesno.tuning.plan import Plan
from raytune_yesno.tuning.plan_checks import check_plan
from raytune_yesno.tuning.refit import best_config
from raytune_yesno.tuning.replay import find_replayable
from reliability.fuzz.kind import Kind, find_untidy
from reliability.fuzz.mutations import mutate_json, mutate_lines

SPACE: Space = {"learning_rate": Float(1e-4, 1e-1, log=True), "hidden_units": Int(4, 64)}


def write_study(folder: Path, scheduler: str = "asha") -> None:
    """Write a study with every kind of event."""
    config = build_config({"task": "sine", "epochs": 4})
    plan = Plan(
        config, {**SPACE, "activation": Choice("relu", "tanh")}, "random", scheduler=scheduler
    )
    store = StudyStore(folder)
    about = {"source": "here", "fingerprint": "0123456789abcdef"}
    store.append("study", format=1, slots=2, data="synthetic", corpus=about, **plan.as_dict())
    for trial in range(6):
        point = {"learning_rate": 0.01 + trial / 100, "hidden_units": 8, "activation": "tanh"}
        store.append("asked", trial=trial, point=point)
        store.append("started", trial=trial, attempt=1, host="here", pid=trial)
        for epoch in range(1, 2 + trial % 4):
            ended = 1e9 + trial + epoch
            store.append(
                "epoch",
                **{"trial": trial, "epoch": epoch, "attempt": 1, "train_loss": 1 / epoch},
                **{"valid_loss": (1 + trial) / epoch, "valid_wer": 0.5, "learning_rate": 0.1},
                **{"seconds": 0.9, "host": "here", "node": "n", "pid": trial, "device": "cpu"},
                **{"began": ended - 1, "ended": ended},
            )
            store.append("saved", trial=trial, epoch=epoch, checkpoint=f"{folder}/trials/{trial}")
        if trial == 2:
            store.append("damaged", trial=trial, reason="a flipped bit")
            mutated = {"trial": trial, "epoch": 2, "source": 1, "checkpoint": "there"}
            store.append("mutated", **mutated, point={**point, "hidden_units": 16})
        if trial == 3:
            store.append("paused")
            changes = {"retry": [2], "extend": {"0": 1, "1": 0}, "epochs": 4}
            store.append("resumed", slots=2, trials=6, patience=3, **changes)
        status = ("done", "stopped", "failed", "diverged", "done", "done")[trial]
        error = {"error": "ValueError: no"} if status == "failed" else {}
        store.append("ended", trial=trial, status=status, **error)
    store.append("searched", reason="patience")
    test = {"wer": 0.1, "words": 10, "substitutions": 1, "insertions": 0, "deletions": 0}
    store.append("refitted", checkpoint=f"{folder}/refit/last", epochs=2, trial=0, test=test)


def good_studies(folder: Path) -> list[bytes]:
    studies = []
    for scheduler in ("asha", "median"):
        write_study(folder / scheduler, scheduler)
        studies.append((folder / scheduler / STORE).read_bytes())
    return studies


def damage_study(random: Random, text: bytes) -> bytes:
    return mutate_lines(random, text, mutate_json)


def try_study(text: bytes, folder: Path) -> str | None:
    (folder / STORE).write_bytes(text)
    study = load(folder)
    use_study(study, folder, text)
    whole = len(study.problems) == 0
    lines = [line for line in text.split(b"\n") if line.strip()]
    known = [_parse(line) for line in lines]
    if whole and any(not isinstance(event, dict) or "event" not in event for event in known):
        return "an invalid line was left out silently"
    # Events that recovery uses are refused or read completely.
    with contextlib.suppress(WorkError):
        resume_study(study)
    return None


def resume_study(study: Study) -> None:
    """Read a study as `tune --resume`, `--replay` and `--warm-start` do."""
    plan = Plan.from_study(study)
    check_plan(plan)
    check_same_data(None, study.settings.get("corpus", {}), "the study")
    scheduler = plan.build_scheduler()
    if isinstance(scheduler, FIFO):  # all asynchronous ones
        scheduler.prepare(study.trial_list)
    if study.best:
        best_config(study, study.best)
    for trial in study.trial_list[:2]:
        with contextlib.suppress(InputError):
            find_replayable(study, trial.number)
    known = warm_start.gather([study], plan.space, plan.config.objective)
    warm_start.describe(known)
    warm_start.build_observations(known, plan.space)


def use_study(study: Study, folder: Path, text: bytes) -> None:
    """Analyse a study; in one of ten cases also build the page, which takes longest."""
    for problem in study.problems:
        if untidy := find_untidy(problem):
            raise ValueError(f"{untidy}: {problem:.200}")
    _ = study.trials, study.epochs, study.efficiency, study.ranking, study.num_slots
    for trial in study.trial_list:
        _ = trial.best_point, trial.metrics, trial.seconds
    format_leaderboards([study], 10, [[]])
    if hashlib.sha256(text).digest()[0] < 26:
        collect_trials([study])
        collect_epochs([study])
        write_report([study], folder / "out")


def _parse(line: bytes) -> Any:
    with contextlib.suppress(ValueError, RecursionError):
        return json.loads(line.decode(errors="replace"))
    return None


Files = dict[str, bytes]


def good_experiments(folder: Path) -> list[Files]:
    files: Files = {}
    states = []
    for number, losses in enumerate(((3.0, 1.0, 2.0), (4.0,), (0.5, 0.4))):
        name = f"f_8381e_{number:05}_{number}_lr=0.1"
        config = {"lr": 0.1 * (number + 1), "net": {"depth": 2}}
        files[f"{name}/params.json"] = json.dumps(config).encode()
        lines = []
        for iteration, loss in enumerate(losses, start=1):
            added = {
                **{"loss": loss, "timestamp": 1000 + 10 * number + 2 * iteration, "pid": 100},
                **{"done": False, "training_iteration": iteration, "trial_id": f"{number}"},
                **{"time_this_iter_s": 2.0, "time_total_s": 2.0 * iteration, "config": config},
                **{"hostname": "somewhere", "node_ip": "192.0.2.2"},
            }
            lines.append(json.dumps(added).encode() + b"\n")
        files[f"{name}/result.json"] = b"".join(lines)
        states.append([json.dumps({"relative_logdir": name, "status": "TERMINATED"}), "{}"])
    files[f"{name}/error.txt"] = b"Failure # 1\nValueError: too <b>large</b>\n"
    files["experiment_state-2026.json"] = json.dumps({"trial_data": states}).encode()
    return [files]


def damage_experiment(random: Random, files: Files) -> Files:
    files = dict(files)
    name = random.choice(list(files))
    if random.random() < 0.1:
        del files[name]
        return files or {"x/result.json": b""}
    one_line = not name.endswith("result.json")
    data = files[name]
    files[name] = mutate_json(random, data) if one_line else mutate_lines(random, data, mutate_json)
    return files


def try_experiment(files: Files, folder: Path) -> str | None:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    study = load(folder)
    use_study(study, folder, b"".join(files.values()))
    reports = sum(
        len([line for line in data.split(b"\n") if line.strip()])
        for name, data in files.items()
        if name.endswith("result.json")
    )
    kept = sum(len(trial.epochs) for trial in study.trial_list)
    return None if reports >= kept else "more epochs than reports"


OURS = tuple(f"raytune_yesno.study.{name}" for name in ("store", "load", "study", "efficiency"))
KINDS: tuple[Kind, ...] = (
    Kind(
        "study folders", good_studies, damage_study, try_study, (*OURS, "raytune_yesno.tuning.plan")
    ),
    Kind(
        "Ray Tune experiments",
        good_experiments,
        damage_experiment,
        try_experiment,
        (*(f"raytune_yesno.study.ray_{name}" for name in ("experiment", "state", "trial")), *OURS),
    ),
)
