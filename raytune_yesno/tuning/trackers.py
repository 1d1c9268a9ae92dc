"""Show a running study in other tools: TensorBoard and MLflow.

A log receives every event written to the store. So the tools show the same data as the record,
under the trial's own number, regardless of which process trained it and how often the study was
interrupted. Ray's logger callbacks are not used: they restart the epoch count when a study is
resumed, write into a folder that is deleted after the search, and end the study if a tracking
server does not answer.
"""

import contextlib
import logging
import math
import os
import queue
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from raytune_yesno.errors import InputError, first_line, quote, suggest_install, to_utf8
from raytune_yesno.files.output import OutputFolder
from raytune_yesno.files.remote import hide_secrets, is_remote
from raytune_yesno.metrics import LEGACY_OBJECTIVE, Objective
from raytune_yesno.study import Study, load
from raytune_yesno.study.events import EPOCH_FIELDS
from raytune_yesno.study.store import STORE, Event
from raytune_yesno.study.trial import RANKED

TENSORBOARD = "tensorboard"
"""The folder of TensorBoard's event files, inside the study's folder."""

_CLOSE_TIMEOUT_S = 60.0  # for the events left to write when the search has ended
_STUDY_RUN = "none"  # the tag ``trial`` of the run of the study itself
_NO_METRICS = EPOCH_FIELDS - {"seconds"}


class Log(Protocol):
    """A tool that shows the trials of a study."""

    def start(self, trial: int, point: Mapping[str, Any], epoch: int) -> None:
        """Start a trial, or resume it after ``epoch``. A scheduler may have changed its point."""

    def epoch(self, trial: int, epoch: int, metrics: Mapping[str, float]) -> None:
        """Log the metrics of an epoch."""

    def end(self, trial: int, status: str, best: Mapping[str, float]) -> None:
        """End a trial. ``best`` holds the metrics of its best epoch; empty if it has none."""

    def close(self) -> None:
        """Write all buffered data."""


def open_logs(names: Sequence[str], out: Path | OutputFolder) -> list[Log]:
    """Return the requested logs.

    Args:
        names: values of ``--log``: ``tensorboard`` or ``mlflow=URI``.
        out: the study's folder.

    Raises:
        InputError: a log is unknown, its library is not installed, or its server does not answer.
    """
    out, logs = OutputFolder.of(out), list[Log]()
    for name in names:
        kind, _, uri = name.partition("=")
        if kind == "tensorboard" and not uri:
            logs.append(TensorBoardLog(out.path / TENSORBOARD))
        elif kind == "mlflow" and uri:
            logs.append(MLflowLog(uri, out.storage))
        else:
            raise InputError(f"--log {name}: choose from tensorboard, mlflow=URI")
    return logs


class TensorBoardLog:
    """Writes one run per trial: metrics by epoch, the point as text, and the HPARAMS tab."""

    def __init__(self, folder: Path) -> None:
        try:
            from tensorboardX import SummaryWriter
        except ImportError:
            raise InputError(
                "--log tensorboard: tensorboardX is not installed; "
                f"{suggest_install('tensorboard')}"
            ) from None
        self.folder, self.build = folder, SummaryWriter
        self.writers: dict[int, Any] = {}
        self.points: dict[int, Mapping[str, Any]] = {}
        self.last: dict[int, int] = {}  # TensorBoard drops events before one with a lower step

    def start(self, trial: int, point: Mapping[str, Any], epoch: int) -> None:
        """Open the trial's event file and write its point as text."""
        if trial not in self.writers:
            # A file name contains the time in seconds only, and a trial may resume within a second.
            self.writers[trial] = self.build(
                str(self.folder / f"trial-{trial:05}"),
                flush_secs=5,
                filename_suffix=f".{uuid.uuid4().hex[:8]}",
            )
        if self.points.get(trial) != point:
            rows = "\n".join(f"    {key}: {value}" for key, value in point.items())
            self.writers[trial].add_text("config", rows, epoch)
        self.points[trial], self.last[trial] = point, epoch

    def epoch(self, trial: int, epoch: int, metrics: Mapping[str, float]) -> None:
        """Write the metrics of an epoch as scalars."""
        self.last[trial] = epoch
        for name, value in metrics.items():
            self.writers[trial].add_scalar(name, value, epoch)

    def end(self, trial: int, status: str, best: Mapping[str, float]) -> None:
        """Write the trial's entry in the HPARAMS tab and close its event file."""
        from tensorboardX.summary import hparams

        writer = self.writers.pop(trial)
        point = {
            key: value if isinstance(value, bool | int | float | str) else str(value)
            for key, value in self.points.pop(trial).items()
        }
        if best:
            figures = {f"best/{name}": value for name, value in best.items()}
            for name, value in figures.items():
                writer.add_scalar(name, value, self.last[trial])
            # The first summary declares the columns of one run. Without it TensorBoard collects
            # the columns of all runs, which may have other hyperparameters.
            for summary in hparams({**point, "status": status}, figures)[1:]:
                writer.file_writer.add_summary(summary, self.last[trial])
        writer.close()

    def close(self) -> None:
        """Close all open event files."""
        for writer in self.writers.values():
            writer.close()


class MLflowLog:
    """Creates an experiment named after the study: a run of the study, and a nested one per trial.

    The tag ``command`` of a trial's run holds the command that trains the trial again.
    """

    def __init__(self, uri: str, storage: str) -> None:
        # Send no usage data about the user's studies.
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
        try:
            from mlflow import MlflowClient
            from mlflow.exceptions import MlflowException

            for name in ("mlflow", "alembic"):
                logging.getLogger(name).setLevel(logging.WARNING)
        except ImportError:
            raise InputError(
                f"--log mlflow: MLflow is not installed; {suggest_install('mlflow')}"
            ) from None
        location = hide_secrets(storage) if is_remote(storage) else storage
        self.study = to_utf8(location.rstrip("/"))
        try:
            self.client = MlflowClient(uri)
            name = self.study.rpartition("/")[2]
            found = self.client.get_experiment_by_name(name)
            self.experiment = found.experiment_id if found else self.client.create_experiment(name)
            self.known = self._find_runs()  # earlier runs, if the study is resumed
            self.parent = self._begin_study(name)
        except (MlflowException, ImportError, OSError, ValueError) as error:
            raise InputError(f"--log mlflow={uri}: {first_line(error)[:200]}") from None
        self.runs: dict[int, str] = {}
        self.points: dict[int, Mapping[str, Any]] = {}

    def _begin_study(self, name: str) -> str:
        """Return the id of the study's own run: a new one, or the one of a resumed study."""
        if run := self.known.get(_STUDY_RUN):
            self.client.update_run(run, status="RUNNING")
            return run
        tags = {"study": self.study, "trial": _STUDY_RUN}
        return str(self.client.create_run(self.experiment, tags=tags, run_name=name).info.run_id)

    def _find_runs(self) -> dict[str, str]:
        """Return the ids of the study's runs by trial, and that of the study itself.

        The tags are compared here, not in a filter of MLflow: a quotation mark in the path would
        break the filter's query, and MLflow cannot escape one.
        """
        found: dict[str, str] = {}
        token: str | None = None
        while True:
            page = self.client.search_runs([self.experiment], max_results=1000, page_token=token)
            for run in page:
                if run.data.tags.get("study") == self.study and "trial" in run.data.tags:
                    found[run.data.tags["trial"]] = run.info.run_id
            token = page.token
            if not token:
                return found

    def start(self, trial: int, point: Mapping[str, Any], epoch: int) -> None:
        """Create the trial's run, or reopen it when a study is resumed."""
        from mlflow.entities import Param

        if trial not in self.runs:
            run = self.known.get(str(trial))
            if run is None:
                tags = {
                    "study": self.study,
                    "trial": str(trial),
                    "mlflow.parentRunId": self.parent,
                    "command": f"raytune-yesno tune --replay {quote(self.study)} {trial}",
                }
                name = f"trial {trial}"
                run = self.client.create_run(self.experiment, tags=tags, run_name=name).info.run_id
                known = [Param(key, str(value)) for key, value in point.items()]
                self.client.log_batch(run, params=known)
            else:
                self.client.update_run(run, status="RUNNING")
            self.runs[trial] = run
        elif self.points[trial] != point:  # MLflow's parameters cannot be changed
            self.client.set_tag(self.runs[trial], "changed_config", str(point))
        self.points[trial] = point

    def epoch(self, trial: int, epoch: int, metrics: Mapping[str, float]) -> None:
        """Log the metrics of an epoch with the epoch as the step."""
        from mlflow.entities import Metric

        now = int(1000 * time.time())
        found = [Metric(name, value, now, epoch) for name, value in metrics.items()]
        self.client.log_batch(self.runs[trial], metrics=found)

    def end(self, trial: int, status: str, best: Mapping[str, float]) -> None:
        """Log the best metrics and end the trial's run."""
        run = self.runs.pop(trial)
        for name, value in best.items():
            self.client.log_metric(run, f"best_{name}", value)
        self.client.set_tag(run, "status", status)
        self.client.set_terminated(run, "FINISHED" if status in RANKED else "FAILED")

    def close(self) -> None:
        """Mark the runs of unfinished trials as killed, and end the run of the study."""
        for run in self.runs.values():
            self.client.set_terminated(run, "KILLED")
        self.client.set_terminated(self.parent, "KILLED" if self.runs else "FINISHED")


@contextlib.contextmanager
def follow_study(
    logs: Sequence[Log], out: Path, note: Callable[[str], None]
) -> Iterator[Callable[[Event], None] | None]:
    """Send the events of a running study to logs.

    Args:
        logs: the logs to write to.
        out: the study's folder. It may contain a study to be resumed.
        note: called with a line about each log that failed.

    Yields:
        A function that takes an event; None without logs.
    """
    if not logs:
        yield None
        return
    feed = Feed(logs, note, load(out) if (out / STORE).is_file() else None)
    try:
        yield feed.put
    finally:
        feed.close()


class Feed:
    """Sends a store's events to logs, in a thread, so that a slow log delays no trial.

    A log that fails is reported once and then disabled. The study continues.
    """

    def __init__(
        self,
        logs: Sequence[Log],
        note: Callable[[str], None],
        before: Study | None = None,
    ) -> None:
        self.logs, self.note = list(logs), note
        self.points: dict[int, dict[str, Any]] = {}
        self.bests: dict[int, tuple[float, dict[str, float]]] = {}
        self.objective = before.objective if before else LEGACY_OBJECTIVE
        self.started: set[int] = set()
        self.last: dict[int, int] = {}
        for trial in before.trial_list if before else ():
            self.points[trial.number] = trial.point
            for epoch in trial.epochs:
                self.last[trial.number] = epoch["epoch"]
                self.keep_best(trial.number, select_finite(epoch))
        self.events: queue.SimpleQueue[Event | None] = queue.SimpleQueue()
        self.thread = threading.Thread(target=self.run, name="logs", daemon=True)
        self.thread.start()

    def put(self, event: Event) -> None:
        """Queue an event that the store has written."""
        self.events.put(event)

    def close(self) -> None:
        """Wait for the logs to write the queued events, up to a timeout."""
        self.events.put(None)
        self.thread.join(_CLOSE_TIMEOUT_S)
        if self.thread.is_alive():
            self.note("--log: the logs are too slow; the last events are missing there")

    def run(self) -> None:
        """Process events in the thread until :meth:`close` is called."""
        while (event := self.events.get()) is not None:
            self.dispatch(event)
        for log in list(self.logs):
            self.attempt(log, log.close)

    def dispatch(self, event: Event) -> None:
        """Send an event to all logs."""
        trial = event.get("trial", -1)
        match event["event"]:
            case "study" if event.get("metrics"):
                self.objective = Objective.from_dicts(event["metrics"])
            case "asked":
                self.points[trial] = event["point"]
            case "started" | "mutated":
                self.points[trial] = event.get("point", self.points.get(trial, {}))
                self.started.add(trial)
                for log in list(self.logs):
                    self.attempt(log, log.start, trial, self.points[trial], self.last.get(trial, 0))
            case "epoch":
                metrics = select_finite(event)
                self.last[trial] = event["epoch"]
                self.keep_best(trial, metrics)
                for log in list(self.logs):
                    self.attempt(log, log.epoch, trial, event["epoch"], metrics)
            case "resumed":
                whole = (
                    number for number, after in (event.get("extend") or {}).items() if not after
                )
                for number in map(int, [*(event.get("retry") or ()), *whole]):
                    self.bests.pop(number, None)  # of the attempt that is replaced
                    self.last.pop(number, None)
            case "ended" if trial in self.started:
                self.started.remove(trial)
                _, best = self.bests.pop(trial, (0.0, {}))
                for log in list(self.logs):
                    self.attempt(log, log.end, trial, event["status"], best)

    def attempt(self, log: Log, action: Callable[..., None], *values: Any) -> None:
        """Call a log's method. If it raises, disable the log and note the reason."""
        try:
            action(*values)
        except Exception as error:
            self.logs.remove(log)
            name = type(log).__name__.removesuffix("Log")
            reason = first_line(error)[:200]
            self.note(f"{name} failed and is disabled, the study continues ({reason})")

    def keep_best(self, trial: int, metrics: dict[str, float]) -> None:
        """Keep the metrics of an epoch if it is the trial's best so far."""
        cost = self.objective.cost(metrics)
        if cost < self.bests.get(trial, (math.inf, {}))[0]:
            self.bests[trial] = (cost, metrics)


def select_finite(epoch: Event) -> dict[str, float]:
    """Return the finite metrics of an epoch, without the fields that describe its run."""
    return {
        key: float(value)
        for key, value in epoch.items()
        if key not in _NO_METRICS and type(value) in (int, float) and math.isfinite(value)
    }
