"""The plan of a study: what to search, how, and when to stop."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import Any

from raytune_yesno.config import Config, build_config, upgrade_config
from raytune_yesno.errors import InputError
from raytune_yesno.schedulers.build import CHANGING, build_scheduler
from raytune_yesno.search.algorithm import ALGORITHMS, Entry, build_algorithm, find_entry
from raytune_yesno.search.repeats import Repeats
from raytune_yesno.search.uninformed import read_points
from raytune_yesno.space import (
    Point,
    Space,
    as_tree,
    build_space,
    express_point,
    format_space,
    parse_space,
)
from raytune_yesno.study import Study
from raytune_yesno.study_settings import STUDY_SETTINGS, StudySetting
from raytune_yesno.text import plural
from raytune_yesno.tuning.stop_conditions import StopConditions

DEFAULT_TRIALS = 32
DEFAULT_POINT = "default"
"""Among known points: the values of the config, with which the task trains untuned."""
_RACED = 3  # points of a finite search that get all repeats, unless trials says otherwise


@dataclass(frozen=True)
class Plan:
    """The plan of a study.

    Attributes:
        config: the settings shared by all trials. A trial's point overrides them. ``num_workers``
            is the number of workers per trial, ``epochs`` the most epochs a trial may train.
        space: the domains to search.
        search: a name in :data:`raytune_yesno.search.ALGORITHMS`.
        search_options: options of the search.
        points: known points, tried first, and the search learns from them; with search ``manual``,
            the points that it tries, as its option ``points``. A point may lack keys of
            the space, whose values the search chooses. :data:`DEFAULT_POINT` stands for the values
            of ``config``.
        scheduler: a name in :data:`raytune_yesno.schedulers.build.SCHEDULERS`. Defaults to
            ``fifo`` for search ``manual``, which tries exactly its points, else to ``asha``.
        scheduler_options: options of the scheduler.
        trials: the number of trials; None for 32 or, if the search is finite, all its points.
        max_concurrent: the most trials at a time; None for as many as fit the cluster.
        stop: the conditions that end the search before its last trial.
        warm_start: observations from other studies, see :mod:`raytune_yesno.tuning.warm_start`.
        ordered: whether results must not depend on timing or the number of slots. Trials may then
            wait for each other.
        window: W of an ordered study. Trial i is proposed once all trials up to i - W have ended,
            from the results of these trials only. At most W trials run at a time.
        repeats: ``min`` and ``max``, how often a point is trained during the search, see
            :class:`raytune_yesno.search.repeats.Repeats`; empty for once. ``trials`` counts every
            training.
        final_round: ``points`` and ``seeds``: after the search, the best points are trained again
            with so many new seeds each, in addition to ``trials``; empty for no final round.
        keep_checkpoints: of how many of the best finished trials to keep the last checkpoint, from
            which they can train on.
        prefer: the limit by which a point is chosen from the front; None for its knee.
        refit: ``best``, or ``all`` to train every point of the front again.
    """

    config: Config
    space: Space
    search: str = "auto"
    search_options: Mapping[str, Any] = field(default_factory=dict)
    points: Sequence[Mapping[str, Any] | str] = ()
    scheduler: str = ""
    scheduler_options: Mapping[str, Any] = field(default_factory=dict)
    trials: int | None = None
    max_concurrent: int | None = None
    stop: StopConditions = field(default_factory=StopConditions)
    warm_start: Mapping[str, Any] | None = None
    ordered: bool = False
    window: int = 4
    repeats: Mapping[str, int] = field(default_factory=dict)
    final_round: Mapping[str, int] = field(default_factory=dict)
    keep_checkpoints: int = 0
    prefer: str | None = None
    refit: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "space", build_space(self.space) if self.space else {})
        known: Any = self._fill(self.points)
        given = self._fill(self.search_options.get("points", []))
        are_lists = isinstance(known, list | tuple) and isinstance(given, list | tuple)
        if self.tries_given_points and are_lists:
            given, known = [*given, *known], ()
        object.__setattr__(self, "points", known)
        if given:
            options = {**self.search_options, "points": given}
            object.__setattr__(self, "search_options", options)
        if not self.scheduler:
            object.__setattr__(self, "scheduler", "fifo" if self.tries_given_points else "asha")

    def _fill(self, points: Any) -> Any:
        """Return points with the config's values in place of :data:`DEFAULT_POINT`."""
        if not isinstance(points, list | tuple) or DEFAULT_POINT not in points:
            return points
        try:
            own = express_point(self.space, {}, self.config.as_dict())
        except InputError as error:
            raise InputError(f"point {DEFAULT_POINT}: {error}; name the point") from None
        return [own if point == DEFAULT_POINT else point for point in points]

    @property
    def num_trials(self) -> int:
        """The requested number of trials, limited to what the points of the search allow.

        It counts repeats, but not the final round. A finite search with repeats has by default
        enough trials for three points to be trained as often as allowed.
        """
        num_points = self.num_points
        if num_points is None:
            return self.trials or DEFAULT_TRIALS
        least, most = self.racing.least, self.racing.most
        usual = num_points * least + min(num_points, _RACED) * (most - least)
        return min(self.trials or usual, num_points * most)

    @property
    def entry(self) -> Entry:
        """What is known of the search."""
        return find_entry(self.search)

    @cached_property
    def num_points(self) -> int | None:
        """The number of points of a finite search; None for others."""
        # A grid with constraints checks all its combinations when it is built.
        return int(self.build_algorithm().num_points) if self.entry.is_finite else None

    @property
    def changes_points(self) -> bool:
        """Whether the scheduler changes the points of trials while they train."""
        return self.scheduler in CHANGING

    @property
    def tries_given_points(self) -> bool:
        """Whether the search tries the user's points and no others."""
        return self.search in ALGORITHMS and self.entry.is_given

    @property
    def racing(self) -> Repeats:
        """How often the search trains a point."""
        return Repeats(self.repeats.get("min", 1), self.repeats.get("max", 1))

    @property
    def num_final(self) -> int:
        """The number of trials of the final round; fewer if fewer points have a result."""
        return self.final_round.get("points", 0) * self.final_round.get("seeds", 0)

    def has_trait(self, key: str, trait: str) -> bool:
        """Return whether a config key has a trait, see ``raytune_yesno.config.setting``."""
        return any(field.metadata[trait] for field in fields(self.config) if field.name == key)

    @property
    def known_points(self) -> list[Point]:
        """The points to try first, in the types of their domains.

        Raises:
            InputError: one lies outside the space; the message names the point and the key.
        """
        return read_points(self.space, self.points)

    def build_scheduler(self) -> Any:
        """Return a new scheduler for this plan.

        Raises:
            InputError: its name or an option is invalid.
        """
        _refuse_reserved("scheduler", self.scheduler_options, build_scheduler)
        tree = as_tree(self.space)
        names = [key for key in tree.names if not self.has_trait(key, "inherited")]
        return build_scheduler(
            self.scheduler,
            self.config.epochs,
            space=tree.restrict(names),
            seed=self.config.seed,
            ordered=self.ordered,
            num_objectives=len(self.config.objective.objectives),
            **self.scheduler_options,
        )

    def build_algorithm(self) -> Any:
        """Return a new search algorithm for this plan.

        Raises:
            InputError: its name or an option is invalid.
        """
        _refuse_reserved("search", self.search_options, build_algorithm)
        return build_algorithm(
            self.search,
            self.space,
            seed=self.config.seed,
            several=self.is_several,
            **self.search_options,
        )

    @property
    def is_several(self) -> bool:
        """Whether there are several objectives, or limits."""
        objective = self.config.objective
        return bool(objective.others or objective.limits)

    def limit_slots(self, fitting: int) -> int:
        """Return how many trials run at a time, at most, where ``fitting`` of them fit."""
        most = max(self.num_trials, self.num_final)
        slots = min(fitting, most, self.max_concurrent or most)
        return min(slots, self.window) if self.ordered else slots

    def extend(self, study: Study, add_trials: int) -> "Plan":
        """Return the plan with ``add_trials`` more trials.

        They follow the requested trials or, if the search has ended, the trials it has proposed.

        Raises:
            InputError: the search has too few points, or the scheduler cannot add trials now.
        """
        if add_trials < 1:
            raise InputError(f"add_trials: {add_trials} is out of range; it must be at least 1")
        if self.changes_points and not study.has_search_ended:
            raise InputError(
                f"add_trials: {study.path} is unfinished, and scheduler {self.scheduler} cannot "
                "add trials to a running population; resume it first, and add trials once "
                "it has ended"
            )
        num_before = study.num_proposed if study.has_search_ended else self.num_trials
        extended = replace(self, trials=num_before + add_trials)
        if extended.num_trials < num_before + add_trials:
            raise InputError(
                f"search {self.search} has {plural(extended.num_trials, 'point')} in all, not "
                f"{num_before} + {add_trials}"
            )
        return extended

    def as_dict(self) -> dict[str, Any]:
        """Return the plan as recorded in the first event of the store."""
        return {
            "config": self.config.as_dict(),
            "metrics": self.config.objective.as_dicts(),
            "space": format_space(self.space),
            **{setting.name: self._value(setting) for setting in STUDY_SETTINGS},
            "warm_start": self.warm_start,
        }

    @classmethod
    def from_study(cls, study: Study) -> "Plan":
        """Return the recorded plan of a study.

        Raises:
            InputError: the record is incomplete or invalid.
        """
        recorded = study.settings
        keys = ("search", "search_options", "scheduler", "scheduler_options", "trials")
        missing = [key for key in ("config", "space", *keys, "data") if key not in recorded]
        if missing:
            raise InputError(f"{study.path}: its first line lacks {', '.join(missing)}")
        space = parse_space(recorded["space"], exact=True)
        config = build_config(
            upgrade_config(recorded["config"]),
            declaration=study.declare(),
            where=f"{study.path}: config",
        )
        plan = cls.from_settings(config, space, recorded)
        if recorded["space"] != study.begun_with.get("space", recorded["space"]):
            plan = replace(plan, points=())  # all tried before the space was changed
        return replace(plan, warm_start=recorded.get("warm_start"))

    @classmethod
    def from_settings(cls, config: Config, space: Space, settings: Mapping[str, Any]) -> "Plan":
        """Return the plan for values of :data:`STUDY_SETTINGS` by name. Ignore other names."""
        given = {
            setting: setting.read(value) if setting.read and value != {} else value
            for setting in STUDY_SETTINGS
            if (value := settings.get(setting.name)) is not None
        }
        return cls(
            config=config,
            space=space,
            stop=StopConditions(**{each.name: v for each, v in given.items() if each.stops}),
            **{each.field: v for each, v in given.items() if not each.stops},
        )

    def _value(self, setting: StudySetting) -> Any:
        """Return the value of a setting as it is recorded."""
        if setting.name == "trials":
            return self.num_trials
        value = getattr(self.stop if setting.stops else self, setting.field)
        return setting.kind(value) if setting.kind in (dict, list) else value


def _refuse_reserved(kind: str, options: Mapping[str, Any], build: Callable[..., Any]) -> None:
    """Refuse options with the name of an argument that the plan gives to ``build`` itself."""
    for name in inspect.signature(build).parameters.keys() & options.keys():
        if name != "options":
            raise InputError(f"{kind}_options: {name!r} is not an option of a {kind}")
