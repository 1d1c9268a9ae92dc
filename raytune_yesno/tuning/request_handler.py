"""Carry out the requests that reach a running study from outside."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from raytune_yesno.config import build_config
from raytune_yesno.errors import InputError, one_line, suggest_name
from raytune_yesno.space import (
    Point,
    Space,
    as_tree,
    check_point,
    express_point,
    imply_options,
    read_point,
)
from raytune_yesno.study import Study
from raytune_yesno.study.requests import ENQUEUE, STOP, STOP_SEARCH, Inbox, Request
from raytune_yesno.study.store import Event, StudyStore

if TYPE_CHECKING:
    from raytune_yesno.tuning.plan import Plan
    from raytune_yesno.tuning.recorder import Recorder
    from raytune_yesno.tuning.searcher import StudySearcher

BY_REQUEST = "stopped by request"


class RequestHandler:
    """Records each request and carries it out, between two steps of Tune's controller.

    Args:
        inbox: where requests appear.
        plan: the plan of the study.
        searcher: the searcher of the study.
        recorder: the recorder of the study.
    """

    def __init__(
        self, inbox: Inbox, plan: "Plan", searcher: "StudySearcher", recorder: "Recorder"
    ) -> None:
        self.inbox, self.plan, self.searcher, self.recorder = inbox, plan, searcher, recorder

    def __call__(self, controller: Any) -> None:
        """Carry out the requests that have arrived."""
        for request in self.inbox.take():
            refused = None
            try:
                request = self._check(request)
            except InputError as error:
                refused = str(error)
            self._record(request, refused)
            if not refused:
                self._carry_out(request, controller)

    def refuse(self, controller: Any = None) -> None:
        """Refuse the requests that have arrived since the search ended."""
        for request in self.inbox.take():
            self._record(request, "the search has ended")

    def _record(self, request: Request, refused: str | None) -> None:
        why = {"refused": refused} if refused else {}
        self.recorder.store.append("requested", **request.as_dict(), **why)
        self.recorder.note(describe_request(request) + (f": refused, {refused}" if refused else ""))

    def _check(self, request: Request) -> Request:
        """Return a request with its complete point.

        Raises:
            InputError: it cannot be carried out.
        """
        if request.action == STOP and request.trial not in self.searcher.live:
            raise InputError(f"trial {request.trial} is not running")
        if request.action != ENQUEUE:
            return request
        plan, config = self.plan, self.plan.config.as_dict()
        check_takes_points(ordered=plan.ordered, scheduler=plan.scheduler)
        point = complete_request(plan.space, config, request.point or {})
        build_config(plan.config, point)
        return replace(request, point=point)

    def _carry_out(self, request: Request, controller: Any) -> None:
        number = request.trial
        if request.action == STOP_SEARCH:
            self.recorder.monitor.found = self.recorder.monitor.found or BY_REQUEST
        elif request.action == ENQUEUE:
            self.searcher.enqueue(request.name, request.point or {})
            self.recorder.progress.asked_for += 1
        elif number is not None and self.searcher.withdraw(number):
            self.recorder.cut_off([number])
        else:
            running = (
                trial
                for trial in list(controller.get_live_trials())
                if trial.config["number"] == number
            )
            for trial in running:
                controller.stop_trial(trial)


def check_takes_points(*, ordered: bool, scheduler: str) -> None:
    """Check that a study with these settings takes points.

    Raises:
        InputError: it takes none.
    """
    from raytune_yesno.schedulers.build import CHANGING  # imports Ray, which `status` does without

    if ordered:
        raise InputError("an ordered study takes no points: its results would depend on timing")
    if scheduler in CHANGING:
        raise InputError(f"scheduler {scheduler} takes no points: its population is complete")


def complete_request(space: Space, config: Mapping[str, Any], point: Mapping[str, Any]) -> Point:
    """Return a requested point with values of the config for keys that it lacks.

    It needs no task, so that a request can be checked without running code of the user.

    Args:
        space: the space of the study.
        config: the config of the study.
        point: the values that are requested, as text or in the types of their domains.

    Raises:
        InputError: the point lies outside the space.
    """
    names = as_tree(space).names
    for name in point:
        if name not in names:
            raise InputError(f"{name!r} is not searched; {suggest_name(name, sorted(names))}")
    try:
        point = imply_options(space, read_point(space, point))
        complete = express_point(space, point, config)
        check_point(space, {**complete, **point})
    except InputError as error:
        missing = sorted(space.keys() - point.keys())
        hint = f"; also give {', '.join(missing)}" if missing else ""
        raise InputError(f"{error}{hint}") from None
    return complete


def describe_request(request: Request) -> str:
    """Return a line on a request."""
    if request.action == ENQUEUE:
        values = ",".join(f"{key}={value}" for key, value in (request.point or {}).items())
        return one_line(f"requested: enqueue {values}")
    return f"requested: {request.action}" + (f" {request.trial}" if request.action == STOP else "")


def list_pending(study: Study, plan: "Plan") -> list[tuple[str, Point]]:
    """Return the names and points of enqueued requests that no trial was launched for.

    A point from before a change of the space counts under the rule for earlier trials.

    Raises:
        InputError: one lies outside the space.
    """
    return [
        (event["request"], express_point(plan.space, event["point"], plan.config.as_dict()))
        for event in find_pending(study)
    ]


def refuse_outside(
    study: Study, plan: "Plan", store: StudyStore, note: Callable[[str], None]
) -> bool:
    """Refuse enqueued points that lie outside a changed space; return whether there were any."""
    is_refused = False
    for event in find_pending(study):
        try:
            express_point(plan.space, event["point"], plan.config.as_dict())
        except InputError as error:
            is_refused = True
            request = Request.from_event(event)
            store.append("requested", **request.as_dict(), refused=str(error))
            note(f"{describe_request(request)}: refused, {error}")
    return is_refused


def find_pending(study: Study) -> Iterator[Event]:
    """Yield the requests for points that no trial was launched for."""
    launched = {trial.request for trial in study.trial_list}
    return (event for event in study.enqueued if event["request"] not in launched)
