"""The loop that runs a function or a generator; :mod:`raytune_yesno.training.loop` trains models.

Both yield the same records, so everything around a run is the same: early stopping, checkpoints,
retries, the record of the study.
"""

import contextlib
import io
import os
import pickle
import random
import tempfile
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from raytune_yesno.checkpoint import Checkpoint
from raytune_yesno.config import EngineConfig
from raytune_yesno.errors import EveryTrialFails, InputError, UnfinishedError
from raytune_yesno.files.full_disk import FULL, find_obstacle
from raytune_yesno.metrics import check_reported, read_metrics
from raytune_yesno.seeding import derive_seed
from raytune_yesno.tasks.function import FunctionTask
from raytune_yesno.tasks.task import Data
from raytune_yesno.training.costs import Costs
from raytune_yesno.training.loop import Record

_ARRAY, _BYTES, _FILE = "__array__", "__bytes__", "__file__"
_OVER = object()
_ROOM = 1 << 16  # bytes that a temporary folder with space has
_PLAIN = (type(None), bool, int, float, complex, str, bytes)


def run_function(
    config: EngineConfig,
    data: Data | None = None,
    *,
    resume: Checkpoint | None = None,
    **_: Any,
) -> Iterator[Record]:
    """Run a function or a generator, yielding one record an epoch.

    Every epoch starts by reseeding the generators of ``random``, numpy and torch from (seed,
    epoch). A generator that yields a state is resumed from it. One that yields none starts again,
    and the epochs that it had reported are left out.

    Args:
        config: the config of the trial; the function gets a copy as a dict.
        data: None.
        resume: the checkpoint to resume from.

    Yields:
        The record of each epoch after ``resume``, up to ``config.epochs``, divergence or the end of
        the generator.
    """
    task = config.declaration.function
    assert task
    history = list(resume.history) if resume else []
    state = decode_state(task, (resume.optimizer or {}).get("state")) if resume else None
    has_state = resume is not None and bool(resume.optimizer)
    if len(history) >= config.epochs:
        return
    costs = Costs(config, data)
    _reseed(config, len(history) + 1 if has_state else 1)
    reports = _prepare(task, config, state)
    if not has_state:
        for epoch, _ in enumerate(history, start=2):
            next(reports, _OVER)
            _reseed(config, epoch)
    for epoch in range(len(history) + 1, config.epochs + 1):
        began = time.perf_counter()
        reported = next(reports, _OVER)
        if epoch == 1 and not (reports.is_over or task.has_epochs):
            raise EveryTrialFails(
                "epochs: the function returned an iterator; give the most epochs of a trial"
            )
        if reported is _OVER:
            if not history:
                raise InputError("the function ended without reporting metrics")
            return
        reported, state, has_state = _split(task, reported, epoch)
        metrics = read_metrics(reported, epoch)
        seconds = time.perf_counter() - began
        metrics = {**costs.after(history, seconds), **metrics}
        check_reported(config.objective, metrics, epoch)
        history.append({"epoch": epoch, **metrics, "world_size": 1, "seconds": seconds})
        diverged = config.objective.has_diverged(metrics)
        yield Record(
            history[-1],
            diverged,
            partial(_checkpoint, task, config, history, state, has_state),
            last=diverged or epoch == config.epochs or reports.is_over,
        )
        if diverged:
            return
        _reseed(config, epoch + 1)


class _Reports:
    """What a function reports, epoch by epoch; a returned value is a single report.

    The function is called for the first one, and is over if nothing can follow the latest.
    """

    def __init__(self, call: Callable[[], Any]) -> None:
        self._call, self.is_over = call, False
        self._reports: Iterator[Any] | None = None

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        process = os.getpid()
        try:
            if self._reports is None:
                try:
                    returned = self._call()
                except StopIteration as error:  # it would end the run silently
                    raise RuntimeError("the function raised StopIteration") from error
                self.is_over = not isinstance(returned, Iterator)
                self._reports = iter([returned]) if self.is_over else returned
            return next(self._reports)
        finally:
            if os.getpid() != process:  # a child that the function forked, and that left it
                os._exit(0)


def _prepare(task: FunctionTask, config: EngineConfig, state: Any) -> _Reports:
    values = task.build_values(config)
    return _Reports(task.call.bind(task.function, values, state))


def _reseed(config: EngineConfig, epoch: int) -> None:
    """Seed the global generators; a run may share its process with earlier ones."""
    seed = derive_seed("epoch", config.seed, epoch, 0)
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def _split(task: FunctionTask, reported: Any, epoch: int) -> tuple[Any, Any, bool]:
    """Return the metrics, the state, and whether there is a state."""
    if not isinstance(reported, tuple):
        return reported, None, False
    if len(reported) != 2:
        raise InputError(f"epoch {epoch}: report metrics, or (metrics, state)")
    metrics, state = reported
    if state is None:  # nothing to resume from
        return metrics, None, False
    if not task.call.takes_state:
        raise InputError(
            f"epoch {epoch}: a state was reported, but the function cannot take it back; add a "
            "second parameter, checkpoint=None"
        )
    return metrics, state, True


def _checkpoint(
    task: FunctionTask,
    config: EngineConfig,
    history: list[dict[str, Any]],
    state: Any,
    has_state: bool,
) -> Checkpoint:
    return Checkpoint(
        config=config,  # type: ignore[arg-type]
        corpus={},
        epoch=len(history),
        history=list(history),
        refit=False,
        state_dict={},
        optimizer={"state": encode_state(task, state)} if has_state else None,
    )


def encode_state(task: FunctionTask, state: Any) -> Any:
    """Return a state as plain values and tensors, which execute no code when they are read.

    Args:
        task: its ``save`` writes the state to a file, whose content is then kept.
        state: what a generator has yielded.

    Raises:
        InputError: the state contains other objects, and the task has no ``save``, or objects whose
            class ``pickle`` does not find in a worker.
        UnfinishedError: the disk of the temporary folder is full.
    """
    if task.save is None:
        return _encode(state, "state")
    with _temporary_file("save") as path:
        try:
            task.save(state, str(path))
        except pickle.PicklingError as error:  # of a class that was sent by content
            raise InputError(
                f"save: {error}; define the class in another module than the function's, and "
                "import it there, or name the function on the command line"
            ) from error
        if not path.is_file():
            raise InputError(f"save: it has not written the file that it was given, {path.name}")
        return {_FILE: _to_tensor(path.read_bytes())}


def decode_state(task: FunctionTask, stored: Any) -> Any:
    """Return the state from the result of :func:`encode_state`.

    Raises:
        InputError: it was stored by a function ``save``, and the task has no ``load``.
        UnfinishedError: the disk of the temporary folder is full.
    """
    if not (isinstance(stored, Mapping) and set(stored) == {_FILE}):
        return _decode(stored)
    if task.load is None:
        raise InputError("the state was stored by a function save; give the function load too")
    with _temporary_file("load") as path:
        path.write_bytes(_to_bytes(stored[_FILE]))
        return task.load(str(path))


@contextlib.contextmanager
def _temporary_file(used_by: str) -> Iterator[Path]:
    """Yield a path for a state; a full disk is no error of the function that uses it.

    Raises:
        UnfinishedError: the disk is full.
    """
    temp = Path(tempfile.gettempdir())
    with contextlib.ExitStack() as stack:
        try:
            yield Path(stack.enter_context(tempfile.TemporaryDirectory())) / "state"
        except Exception as error:
            # The folder is asked: the function may have met another disk, and some libraries raise
            # an error that does not mention the disk, as torch does.
            found = find_obstacle(temp, _ROOM)
            if found and found.errno in FULL:
                reason = f"{used_by}: {temp} cannot be written ({found.strerror})"
                raise UnfinishedError(reason) from error
            raise


def _encode(value: Any, where: str) -> Any:
    if type(value) is bytes and not value:  # stored as a call of bytes(), which is not read back
        return {_BYTES: _to_tensor(value)}
    if isinstance(value, _PLAIN) and type(value) in _PLAIN:
        return value
    if isinstance(value, torch.Tensor):
        return value.detach().cpu()
    if type(value) in (list, tuple):
        return type(value)(_encode(item, f"{where}[{n}]") for n, item in enumerate(value))
    if type(value) is set:
        return {_encode_key(item, f"{where}{{}}") for item in value}
    if type(value) in (dict, OrderedDict) and not value.keys() & {_ARRAY, _BYTES, _FILE}:
        return type(value)(
            (_encode_key(key, f"{where} key"), _encode(item, f"{where}[{key!r}]"))
            for key, item in value.items()
        )
    is_array = type(value) is np.ndarray or isinstance(value, np.generic)
    if is_array and not np.asarray(value).dtype.hasobject:
        file = io.BytesIO()
        np.save(file, np.asarray(value), allow_pickle=False)
        return {_ARRAY: _to_tensor(file.getvalue()), "scalar": isinstance(value, np.generic)}
    raise _refuse(value, where)


def _encode_key(value: Any, where: str) -> Any:
    """Return a key of a dict or an item of a set, which has to be hashable."""
    if type(value) is tuple:
        return tuple(_encode_key(item, where) for item in value)
    plain = value.item() if isinstance(value, np.generic) else value
    if type(plain) in _PLAIN and plain != b"":
        return plain
    raise _refuse(value, where)


def _refuse(value: Any, where: str) -> InputError:
    return InputError(
        f"{where} is a {type(value).__name__}, which is stored only by functions of your own; give "
        "the function attributes save and load, such as joblib.dump and joblib.load"
    )


def _decode(value: Any) -> Any:
    if isinstance(value, list | tuple | set):
        return type(value)(map(_decode, value))
    if not isinstance(value, dict):
        return value
    if _BYTES in value:
        return _to_bytes(value[_BYTES])
    if _ARRAY not in value:
        return type(value)((key, _decode(item)) for key, item in value.items())
    array = np.load(io.BytesIO(_to_bytes(value[_ARRAY])), allow_pickle=False)
    return array[()] if value["scalar"] else array


def _to_tensor(content: bytes) -> torch.Tensor:
    if not content:  # which frombuffer refuses
        return torch.empty(0, dtype=torch.uint8)
    return torch.frombuffer(bytearray(content), dtype=torch.uint8)


def _to_bytes(tensor: torch.Tensor) -> bytes:
    return tensor.numpy().tobytes()
