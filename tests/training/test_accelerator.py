"""A GPU that is asked for, where torch finds none."""

import pickle
import socket
from pathlib import Path
from typing import Any

import pytest
import torch

from raytune_yesno.config import build_config, register_task
from raytune_yesno.errors import InputError
from raytune_yesno.metrics import Metric, Objective
from raytune_yesno.study.store import StudyStore
from raytune_yesno.training.loop import lacks_accelerator, require_accelerator
from raytune_yesno.training.one_worker import TrainWorker
from raytune_yesno.training.payload import RunPayload
from raytune_yesno.tuning.progress import Progress
from raytune_yesno.tuning.recorder import Recorder
from raytune_yesno.tuning.stop_conditions import StopConditions, StopMonitor
from raytune_yesno.user_code import TaskError, unfinished

without_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")


@without_gpu
def test_a_worker_does_not_train_on_the_cpu_instead() -> None:
    config = build_config({"task": "sine", "use_gpu": True})
    with pytest.raises(TaskError, match=f"use_gpu: .*{socket.gethostname()}") as caught:
        TrainWorker().begin(RunPayload(config, None, None, False, 1, ""), None)
    on_the_driver = unfinished("training failed", pickle.loads(pickle.dumps(caught.value)))
    assert isinstance(on_the_driver, InputError)  # so no command that fails alike is suggested
    assert "--set use_gpu=false" in str(on_the_driver)


@without_gpu
def test_a_function_may_use_a_gpu_without_torch() -> None:
    def objective(config: dict[str, Any]) -> dict[str, float]:
        return {"loss": 1.0}

    objective.metrics = (Metric("loss"),)  # type: ignore[attr-defined]
    register_task("accelerator:objective", objective)
    function = build_config({"task": "accelerator:objective", "use_gpu": True})
    assert not lacks_accelerator(function)
    require_accelerator(function)
    model = build_config({"task": "sine", "use_gpu": True})
    assert lacks_accelerator(model)
    with pytest.raises(InputError, match="use_gpu: torch finds no GPU"):
        require_accelerator(model)
    assert not lacks_accelerator(build_config({"task": "sine"}))


def test_a_study_notes_a_node_without_a_gpu_once(tmp_path: Path) -> None:
    notes: list[str] = []
    objective = Objective(Metric("loss"))
    monitor = StopMonitor(StopConditions(), objective)
    progress = Progress(objective, 9, 1, 3)
    recorder = Recorder(StudyStore(tmp_path), progress, monitor, notes.append)
    for node in ("one", "one", "two"):
        recorder.epoch(0, {"without_gpu": node})
    assert ["one" in notes[0], "two" in notes[1]] == [True, True]
    assert len(notes) == 2


@pytest.mark.parametrize(("share", "is_valid"), [(0.5, True), (1.5, False), (2.0, True)])
def test_shares_of_several_gpus_are_refused(share: float, is_valid: bool) -> None:
    changes = {"task": "sine", "use_gpu": True, "gpus_per_worker": share}
    if is_valid:
        assert build_config(changes).gpus_per_worker == share
    else:
        with pytest.raises(InputError, match=r"gpus_per_worker: 1\.5"):
            build_config(changes)
