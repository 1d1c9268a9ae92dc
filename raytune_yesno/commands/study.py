"""The command ``study``: look at a running study, and act on it from another terminal."""

import time
from argparse import Namespace
from typing import TYPE_CHECKING, Any

from raytune_yesno.commands.common import note
from raytune_yesno.commands.display import Printer, describe
from raytune_yesno.commands.settings import split_point
from raytune_yesno.config import Config
from raytune_yesno.errors import InputError, WorkError, one_line, quote
from raytune_yesno.task_registry import name_task
from raytune_yesno.text import format_point

if TYPE_CHECKING:
    from raytune_yesno.space import Point
    from raytune_yesno.study import Study
    from raytune_yesno.study.requests import Request

_WAIT_S, _LOOK_EVERY_S = 20.0, 0.5


def stop(options: Namespace, say: Printer) -> dict[str, Any]:
    """Ask a running study to stop a trial or its search; return the JSON object.

    Raises:
        InputError: the study has no such trial that is running.
    """
    from raytune_yesno.study.requests import STOP, STOP_SEARCH, Request, name_request

    study = _load_running(options)
    if options.target == "search":
        return _send(Request(name_request(), STOP_SEARCH), options, say)
    try:
        number = int(options.target)
    except ValueError:
        raise InputError(
            f"stop: {options.target!r} is neither a trial number nor `search`"
        ) from None
    trial = next((each for each in study.trial_list if each.number == number), None)
    if trial is None:
        raise InputError(f"stop: {study.path} has no trial {number}")
    if trial.status != "running":
        raise InputError(f"stop: trial {number} has ended ({trial.status})")
    return _send(Request(name_request(), STOP, trial=number), options, say)


def enqueue(options: Namespace, say: Printer) -> dict[str, Any]:
    """Ask a running study for a trial of a given point; return the JSON object.

    Raises:
        InputError: the point is invalid, or the study takes none.
    """
    from raytune_yesno.study.requests import ENQUEUE, Request, name_request

    point = _read_point(options.point, _load_running(options))
    return _send(Request(name_request(), ENQUEUE, point=point), options, say)


def _load_running(options: Namespace) -> "Study":
    """Return a study whose search has not ended.

    Raises:
        InputError: it has.
    """
    from raytune_yesno.study import load

    location = options.study.rstrip("/")
    study = load(location)
    if study.has_search_ended:
        raise InputError(
            f"{location}: its search has ended; extend it with: raytune-yesno tune --add-trials N "
            f"--resume {quote(location)}{name_task(study.config.get('task', Config.task))}"
        )
    return study


def _read_point(text: str, study: "Study") -> "Point":
    """Return a point of the study from its text."""
    from raytune_yesno.config import upgrade_config
    from raytune_yesno.space import parse_space
    from raytune_yesno.tuning.request_handler import check_takes_points, complete_request

    settings = study.settings
    check_takes_points(
        ordered=bool(settings.get("ordered")), scheduler=str(settings.get("scheduler", ""))
    )
    space, config = parse_space(settings.get("space", {}), exact=True), upgrade_config(study.config)
    return complete_request(space, config, split_point(text, "enqueue"))


def _send(request: "Request", options: Namespace, say: Printer) -> dict[str, Any]:
    """Send a request and wait until it is recorded.

    Raises:
        WorkError: the study refused it.
    """
    from raytune_yesno.files.lock import find_holder
    from raytune_yesno.study import load
    from raytune_yesno.study.requests import send
    from raytune_yesno.tuning.request_handler import describe_request

    location = options.study.rstrip("/")
    holder = find_holder(location)
    send(location, request)
    deadline = time.monotonic() + (_WAIT_S if holder else 0)
    taken = None
    while taken is None and time.monotonic() < deadline:
        time.sleep(_LOOK_EVERY_S)
        requests = load(location).requests
        taken = next((event for event in requests if event["request"] == request.name), None)
    if taken and taken.get("refused"):
        raise WorkError(f"{location}: {request.action} refused: {taken['refused']}")
    if not taken:
        why = f"no answer yet from {holder}" if holder else "no command is running this study"
        note(one_line(f"{location}: {why}; the request is carried out when the study continues"))
    say(describe_request(request) + (", done" if taken else ""))
    return {"study": location, **request.as_dict(), "taken": taken is not None}


def status(options: Namespace, say: Printer) -> dict[str, Any]:
    """Print the state of a study and return the JSON object."""
    from raytune_yesno.files.lock import find_holder
    from raytune_yesno.study import load
    from raytune_yesno.study.requests import Inbox
    from raytune_yesno.tuning.request_handler import describe_request

    location = options.study.rstrip("/")
    study, holder = load(location), find_holder(location)
    running = [trial for trial in study.trial_list if trial.status == "running"]
    statuses = [trial.status for trial in study.trial_list]
    counts = {status: statuses.count(status) for status in dict.fromkeys(statuses)}
    if not holder and "running" in counts:  # nothing runs without a command
        counts["unfinished"] = counts.pop("running")
    state = "finished" if study.searched else "interrupted"
    if study.searched and study.best and not study.refit and study.has_config:
        state = "refit missing"
    if holder:
        state = "refitting" if study.searched else "running"
    say(one_line(f"study: {location}"))
    say(f"state: {state}")
    if holder:
        say(one_line(f"writer: {holder}"))
    told = ", ".join(f"{count} {status}" for status, count in counts.items())
    say(
        f"trials: {len(study.trial_list)} of {study.num_asked} begun ({told or 0})",
    )
    for trial in running:
        values = format_point(trial.point)
        say(
            one_line(f"  trial {trial.number}: epoch {trial.last_epoch}, {values}"),
        )
    if best := study.best:
        say(f"best: trial {best.number}, {describe(best.metrics, best.objective)}")
    for event in study.requests:
        say(describe_event(event))
    waiting = Inbox(location, [event["request"] for event in study.requests]).list_waiting()
    for request in waiting:
        say(f"waiting: {describe_request(request).removeprefix('requested: ')}")
    if study.reason:
        say(one_line(f"search ended: {study.reason}"))
    return {
        "study": location,
        "state": state,
        "writer": str(holder) if holder else None,
        "trials": counts,
        "asked": study.num_asked,
        "running": [{"trial": each.number, "epoch": each.last_epoch} for each in running],
        "best": {"trial": best.number, "metrics": best.metrics} if best else None,
        "requests": study.requests,
        "waiting": [request.as_dict() for request in waiting],
    }


def describe_event(event: dict[str, Any]) -> str:
    """Return a line on a recorded request."""
    from raytune_yesno.study.requests import Request
    from raytune_yesno.tuning.request_handler import describe_request

    at = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(event["time"]))
    refused = f": refused, {event['refused']}" if event.get("refused") else ""
    return one_line(f"{at} {describe_request(Request.from_event(event))}{refused}")
