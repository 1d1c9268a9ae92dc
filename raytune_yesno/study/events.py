"""The events of a study's record: one model per kind, which says what the event holds.

Events are validated where they are read, and stay mappings: the metrics of an epoch have the names
that the task gives them. A field that no model declares is kept as it is, so an older version reads
what a newer one wrote. A null counts as a missing field.
"""

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal, TypeAlias, TypeGuard, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PlainValidator,
    ValidationError,
    create_model,
)

from raytune_yesno.numerals import MAX_NUMBER, MAX_WHOLE
from raytune_yesno.study_settings import STUDY_SETTINGS, StudySetting

_MAX_TIME_S = 1e11  # since 1970: the year 5138


def is_number(value: Any) -> TypeGuard[float]:
    """Say whether a value is a finite number, not a boolean, that a float can represent."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return abs(value) <= (MAX_NUMBER if isinstance(value, float) else MAX_WHOLE)


def is_time(value: Any) -> bool:
    """Say whether a value is a time or a duration in seconds."""
    return is_number(value) and 0 <= value < _MAX_TIME_S


def _check_number(value: Any) -> float:
    if not is_number(value):
        raise ValueError
    return value


def _check_time(value: Any) -> float:
    if not is_time(value):
        raise ValueError
    return float(value)


def _check_shown(value: dict[str, Any]) -> dict[str, Any]:
    """Refuse a point with a value that a table or a page cannot show."""
    if not _can_show(value):
        raise ValueError
    return value


def _can_show(value: Any) -> bool:
    if isinstance(value, dict | list):
        return all(map(_can_show, value.values() if isinstance(value, dict) else value))
    return value is None or isinstance(value, str | bool) or is_number(value)


# The description of a field completes the message "… which is not".
Count: TypeAlias = Annotated[int, Field(ge=0, le=MAX_WHOLE, description="a count")]
Slots: TypeAlias = Annotated[int, Field(ge=1, le=MAX_WHOLE, description="a count above 0")]
Number: TypeAlias = Annotated[float, PlainValidator(_check_number), Field(description="a number")]
Seconds: TypeAlias = Annotated[
    float, PlainValidator(_check_time), Field(description="a time in seconds")
]
Text: TypeAlias = Annotated[str, Field(description="text")]
Flag: TypeAlias = Annotated[bool, Field(description="true or false")]
Mapped: TypeAlias = Annotated[dict[str, Any], Field(description="a mapping")]
Listed: TypeAlias = Annotated[list[Any], Field(description="a list")]
Digits: TypeAlias = Annotated[str, Field(pattern="^[0-9]{1,15}$")]
Texts: TypeAlias = Annotated[dict[str, str], Field(description="a mapping of strings")]
Point: TypeAlias = Annotated[
    dict[str, Any], AfterValidator(_check_shown), Field(description="a point")
]


class _Model(BaseModel):
    model_config = ConfigDict(strict=True, extra="allow")


class DeclaredMetric(_Model):
    """A metric as its task declares it."""

    name: Annotated[str, Field(min_length=1)]
    mode: Literal["min", "max"] = "min"
    __pydantic_extra__: dict[str, str]


class WarmObservation(_Model):
    """What an earlier study says about one point."""

    point: Point
    status: str
    losses: Annotated[list[Number], Field(min_length=1)]
    loss: Number | None = None
    costs: Annotated[list[Number], Field(description="a list of numbers")] = []
    excesses: Annotated[list[Number], Field(description="a list of numbers")] = []


class WarmStart(_Model):
    """What earlier studies say."""

    observations: list[WarmObservation]


class Event(_Model):
    """The fields of any event."""

    event: Text
    time: Seconds
    trial: Count | None = None
    epoch: Count | None = None
    attempt: Count | None = None


_KINDS = {str: Text, int: Count, float: Number, bool: Flag, list: Listed, dict: Mapped}
"""The fields of study settings, by their kinds."""

_Kind = TypeVar("_Kind", bound="Settings")


def _add_settings(model: type[_Kind], settings: Iterable[StudySetting]) -> type[_Kind]:
    """Return a model with a field for each setting."""
    fields: dict[str, Any] = {each.name: (_KINDS[each.kind] | None, None) for each in settings}
    return create_model(model.__name__, __base__=model, __doc__=model.__doc__, **fields)


class Settings(Event):
    """Settings of a study; ``command`` is the id of what set them, if any.

    Those of :data:`~raytune_yesno.study_settings.STUDY_SETTINGS` are added below.
    """

    command: Text | None = None
    slots: Slots | None = None
    space: Mapped | None = None
    epochs: Count | None = None


class Resumed(Settings):
    """``resumed``: the study was resumed, with what changes for its earlier trials.

    It is one event, so that a kill leaves all of the change or nothing. ``retry`` lists trials to
    train again. ``extend`` maps trials to the epoch from which they train on to ``epochs``.
    ``added`` is the number of trials by which a search that had ended is extended. ``searched``
    says that the search stays ended.
    """

    added: Count | None = None
    retry: Annotated[list[Count] | None, Field(description="a list of counts")] = None
    extend: Annotated[dict[Digits, Count] | None, Field(description="a mapping of counts")] = None
    searched: Flag | None = None
    code: Text | None = None


class StudyBegun(Settings):
    """``study``, the first event: all settings of the study."""

    data: Text | None = None
    config: Mapped | None = None
    corpus: Texts | None = None  # source, fingerprint, … of the data of any task
    versions: Texts | None = None
    code: Text | None = None
    metrics: Annotated[
        list[DeclaredMetric] | None, Field(min_length=1, description="a list of metrics")
    ] = None
    warm_start: Annotated[WarmStart | None, Field(description="observations of other studies")] = (
        None
    )


class Asked(Event):
    """``asked``: a trial's number and point, written before the trial is launched.

    ``request`` names the request that gave the point. A repeat of a point has ``repeat_of``, the
    number of the point's first trial, and its own ``seed``; ``final`` marks the final round.
    """

    trial: Count
    point: Point
    request: Text | None = None
    repeat_of: Count | None = None
    seed: Count | None = None
    final: Flag | None = None


class Started(Event):
    """``started``: an attempt of a trial started; a retry has the next ``attempt``."""

    trial: Count


class Epoch(Event):
    """``epoch``: the metrics of an epoch, and the process that trained it.

    ``host``, Ray's ``node`` (a host may run several) and ``pid`` name the process; ``began`` and
    ``ended`` are seconds since 1970 on the worker's clock. All other fields are metrics.
    """

    trial: Count
    epoch: Count
    seconds: Seconds
    host: Text
    pid: Count
    began: Seconds
    ended: Seconds
    node: Text | None = None
    device: Text | None = None
    diverged: Flag | None = None
    point: Any = None
    __pydantic_extra__: dict[str, Number | None]


class Damaged(Event):
    """``damaged``: a checkpoint was unusable; ``reason`` also says what replaced it."""

    trial: Count
    reason: Text


class Saved(Event):
    """``saved``: the trial's latest checkpoint (folder or URI) and its epoch."""

    trial: Count
    checkpoint: Text
    epoch: Count


class Mutated(Saved):
    """``mutated``: after an epoch, the scheduler copied trial ``source`` over this one.

    The trial resumes from the copied ``checkpoint`` with a new point.
    """

    source: Count
    point: Point


class Ended(Event):
    """``ended``: a trial ended.

    ``status`` is ``done``, ``stopped`` (by the scheduler, or for a ``reason``: the end of the
    search, a changed space), ``diverged`` or ``failed``. A failed one has the ``error`` and its
    ``cause``: ``user error``, ``out of memory``, ``lost process``, ``lost node`` or ``storage``.
    """

    trial: Count
    status: Text
    reason: Text | None = None
    error: Text | None = None
    cause: Text | None = None


class Requested(Event):
    """``requested``: a request from outside was taken.

    ``action`` is ``stop`` (a ``trial``), ``stop search`` or ``enqueue`` (a ``point``). ``refused``
    says why nothing is done.
    """

    request: Text
    action: Text
    point: Point | None = None
    refused: Text | None = None


class Retried(Event):
    """``retried``: an ended trial is trained again, from its beginning.

    Older versions wrote it; now it is read from ``resumed``, see :class:`Resumed`.
    """

    trial: Count


class Extended(Event):
    """``extended``: a trial that ended after epoch ``after`` is trained on to ``epochs``.

    Older versions wrote it; now it is read from ``resumed``, see :class:`Resumed`.
    """

    trial: Count
    after: Count
    epochs: Count


class Paused(Event):
    """``paused``: the search was interrupted."""


class Final(Event):
    """``final``: the search ended, as in ``searched``, and its final round begins.

    ``points`` are the numbers of the finalists' first trials, ``first`` is the number of the
    round's first trial.
    """

    points: Annotated[list[Count], Field(description="a list of counts")]
    first: Count
    reason: Text | None = None


class Searched(Event):
    """``searched``: the search and its final round ended.

    ``reason`` says why, if the search ended before its last trial.
    """

    reason: Text | None = None


class Refitted(Event):
    """``refitted``: the refit's checkpoint, and its figures on the test part.

    A task that is not refitted, such as a function, has no ``checkpoint``.
    """

    checkpoint: Text | None = None
    test: Point | None = None
    test_says: Text | None = None


EPOCH_FIELDS = frozenset(Epoch.model_fields)
"""The fields of an epoch that are no metrics of its task; no metric has such a name."""

EVENTS: Mapping[str, type[Event]] = {
    "study": _add_settings(StudyBegun, STUDY_SETTINGS),
    "asked": Asked,
    "started": Started,
    "epoch": Epoch,
    "damaged": Damaged,
    "saved": Saved,
    "mutated": Mutated,
    "ended": Ended,
    "requested": Requested,
    "retried": Retried,
    "extended": Extended,
    "paused": Paused,
    "resumed": _add_settings(Resumed, (each for each in STUDY_SETTINGS if each.on_resume)),
    "final": Final,
    "searched": Searched,
    "refitted": Refitted,
}


def find_fault(event: Mapping[str, Any]) -> str | None:
    """Return why an event is invalid; None if it is valid."""
    kind = event["event"]
    model = EVENTS.get(kind, Event)
    try:
        model.model_validate(event)
    except ValidationError as error:
        faults = error.errors(include_url=False, include_context=False)
        missing = [str(fault["loc"][0]) for fault in faults if fault["type"] == "missing"]
        if absent := sorted(name for name in missing if name not in event):
            return f"{kind!r} lacks {', '.join(absent)}"
        name = str(faults[0]["loc"][0])
        return f"{kind!r} has {name} {event[name]!r:.60}, which is not {_describe(model, name)}"
    return None


def _describe(model: type[Event], name: str) -> str:
    """Return what a field should be; fields that a model does not declare are metrics."""
    field = model.model_fields.get(name)
    if field is None:
        return "a number"
    if field.description:
        return field.description
    for option in getattr(field.annotation, "__args__", ()):
        for note in getattr(option, "__metadata__", ()):
            if getattr(note, "description", None):
                return str(note.description)
    return "valid"
