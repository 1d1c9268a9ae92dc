"""What a study is asked to do."""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from raytune_yesno.config import Config, build_config, upgrade_config
from raytune_yesno.errors import InputError
from raytune_yesno.schedulers.build import RESERVED, build_scheduler
from raytune_yesno.search import build_algorithm
from raytune_yesno.space import Space, format_space, parse_space
from raytune_yesno.study import Study
from raytune_yesno.study_settings import STUDY_SETTINGS, StudySetting
from raytune_yesno.tuning.stop_conditions import StopConditions

DEFAULT_TRIALS = 32
MAX_IMPLICIT_TRIALS = 10_000  # points of a search that has an end: more than that nobody means

MODEL_FREE = frozenset({"manual", "grid", "random"})

# Pairs of a scheduler and searches that make no sense, and why.
_NO_BUDGETS = (
    "it learns from trials that ended at several numbers of epochs, by their losses there; choose "
    "scheduler asha or hyperband"
)
INCOMPATIBLE: tuple[tuple[str, frozenset[str], str], ...] = (
    ("fifo", frozenset({"bohb"}), _NO_BUDGETS),
    ("median", frozenset({"bohb"}), _NO_BUDGETS),
    (
        "pbt",
        frozenset({"manual", "grid"}),
        "the search means exactly its points, and the scheduler changes them; choose search random",
    ),
    (
        "pbt",
        frozenset({"tpe", "bayesian", "pso", "bohb", "genetic", "cmaes"}),
        "the scheduler asks for all points before the first result, and changes them afterwards, "
        "so the search could learn nothing; choose search random",
    ),
)


@dataclass(frozen=True)
class Plan:
    """What a study is asked to do.

    Attributes:
        config: what all trials share; a point is merged over it. Its ``num_workers`` are the
            workers of a trial, its ``epochs`` the most that a trial may train.
        space: the domains searched.
        search, search_options: an entry of :data:`raytune_yesno.search.ALGORITHMS`.
        scheduler, scheduler_options: an entry of :data:`raytune_yesno.schedulers.build.SCHEDULERS`;
            unless given, ``fifo`` for search ``manual``, which asks for exactly its points, and
            ``asha`` for all others.
        trials: how many are asked for; None for 32 or, of a search that has an end, all.
        max_concurrent: most trials at a time; None for as many as fit the cluster.
        stop: what ends the search before its last trial.
        ordered: come to the same on any number of slots; trials wait for each other.
        window: of an ordered study, the W of which trial i is asked for when trials up to i - W
            have ended, in the knowledge of these alone; so no more than W run at a time.
        warm_start: what the search knows from other studies, see
            :mod:`raytune_yesno.tuning.warm_start`.
    """

    config: Config
    space: Space
    search: str = "tpe"
    search_options: Mapping[str, Any] = field(default_factory=dict)
    scheduler: str = ""
    scheduler_options: Mapping[str, Any] = field(default_factory=dict)
    trials: int | None = None
    max_concurrent: int | None = None
    stop: StopConditions = field(default_factory=StopConditions)
    warm_start: Mapping[str, Any] | None = None
    ordered: bool = False
    window: int = 4

    def __post_init__(self) -> None:
        if not self.scheduler:
            object.__setattr__(self, "scheduler", "fifo" if self.search == "manual" else "asha")

    def check_all_points(self) -> None:
        """Raise InputError if a new study would leave out points that its search means to try.

        A grid's first points are one corner of it. A study that was begun with fewer is resumed.
        """
        available = getattr(self.build_algorithm(), "num_points", None)
        if available is not None and self.trials is not None and self.trials < available:
            advice = {
                "grid": "leave --trials out, give fewer levels or domains, or choose search random",
            }.get(self.search, "leave --trials out, or those points")
            raise InputError(
                f"trials: {self.trials} of the {available:,} points of search {self.search} would "
                f"be its first ones alone; {advice}"
            )

    def check(self) -> None:
        """Raise InputError if any part of the plan could not be carried out."""
        if self.trials is not None and self.trials < 1:
            raise InputError(f"trials: {self.trials} is out of range; it must be at least 1")
        if self.config.is_elastic:
            raise InputError(
                f"num_workers: {self.config.min_workers}:{self.config.max_workers} is a range, "
                "which is for `train`; a trial has a fixed number, --workers-per-trial N"
            )
        if self.config.min_workers < 1:
            raise InputError("num_workers: a trial has at least 1 worker; 0 is for `train`")
        if self.max_concurrent is not None and self.max_concurrent < 1:
            raise InputError(f"max_concurrent: {self.max_concurrent} must be at least 1")
        if self.window < 1:
            raise InputError(f"W: {self.window} is out of range; it must be at least 1")
        self.stop.check(self.config.objective.metrics)
        if self.ordered and self.stop.time_budget is not None:
            raise InputError(
                "time_budget: how far an ordered study comes in a time differs from run to run; "
                "leave it out, or --ordered"
            )
        if self.warm_start and self.search in MODEL_FREE:
            raise InputError(f"warm_start: search {self.search} looks at no result")
        for options, taken in (
            (self.search_options, {"name", "space", "seed"}),
            (self.scheduler_options, {"name", *RESERVED}),
        ):
            for key in options.keys() & taken:
                raise InputError(f"{key!r} is no option of a search or a scheduler")
        self.build_scheduler()
        self._check_pair()
        self.build_algorithm()
        if self.trials is None and self.num_trials > MAX_IMPLICIT_TRIALS:
            raise InputError(
                f"search {self.search}: the space has {self.num_trials:,} points; say how many "
                f"with --trials {self.num_trials}, give fewer levels or a smaller space, or choose "
                "search random"
            )
        for key in self.space:
            if self._is(key, "shared"):
                raise InputError(
                    f"search space: {key!r} is the same for all trials; use --set {key}=…"
                )
        for key, domain in self.space.items():
            for value in domain.grid(2):
                build_config(self.config.as_dict(), {key: value}, where=f"search space: {key}")
        # These can be wrong together where each is right alone.
        coupled = [key for key in self.space if self._is(key, "coupled")]
        for values in itertools.product(*(self.space[key].grid(100) for key in coupled)):
            point = dict(zip(coupled, values, strict=True))
            build_config(self.config.as_dict(), point, where="search space")

    @property
    def num_trials(self) -> int:
        """The number of trials: what was asked for, but no more than the search has."""
        available = getattr(self.build_algorithm(), "num_points", None)
        if available is None:
            return self.trials or DEFAULT_TRIALS
        return min(self.trials or available, available)

    def _is(self, key: str, trait: str) -> bool:
        """Whether a config key was declared with a trait, see ``raytune_yesno.config.setting``."""
        return any(field.metadata[trait] for field in fields(self.config) if field.name == key)

    def _check_pair(self) -> None:
        for scheduler, searches, reason in INCOMPATIBLE:
            if self.scheduler == scheduler and self.search in searches:
                raise InputError(f"search {self.search} with scheduler {scheduler}: {reason}")

    def build_scheduler(self) -> Any:
        return build_scheduler(
            self.scheduler,
            self.config.epochs,
            space={key: self.space[key] for key in self.space if not self._is(key, "inherited")},
            seed=self.config.seed,
            ordered=self.ordered,
            **self.scheduler_options,
        )

    def build_algorithm(self) -> Any:
        return build_algorithm(
            self.search, self.space, seed=self.config.seed, **self.search_options
        )

    def extend(self, study: Study, add_trials: int) -> "Plan":
        """Return the plan for as many trials more.

        They come after those asked for; after those begun, if a stop condition ended the search.

        Raises:
            InputError: there cannot be as many, or they cannot join those that were cut off.
        """
        if add_trials < 1:
            raise InputError(f"add_trials: {add_trials} is out of range; it must be at least 1")
        if self.scheduler == "pbt" and not study.searched:
            raise InputError(
                f"add_trials: the population of {study.path} is in its midst, where no other trial "
                "can join it; resume the study without, and add trials once it has ended"
            )
        asked_for = len(study.trial_list) if study.searched else self.num_trials
        longer = replace(self, trials=asked_for + add_trials)
        if longer.num_trials < asked_for + add_trials:
            raise InputError(
                f"search {self.search} has {longer.num_trials} points in all, not "
                f"{asked_for} + {add_trials}"
            )
        return longer

    def as_dict(self) -> dict[str, Any]:
        """Return the plan as the store's first event holds it."""
        return {
            "config": self.config.as_dict(),
            "metrics": self.config.objective.as_dicts(),
            "space": format_space(self.space),
            **{setting.name: self._value(setting) for setting in STUDY_SETTINGS},
            "warm_start": self.warm_start,
        }

    @classmethod
    def from_study(cls, study: Study) -> "Plan":
        """Return the plan that a study was asked to carry out."""
        asked = study.asked
        keys = ("search", "search_options", "scheduler", "scheduler_options", "trials")
        missing = [key for key in ("config", "space", *keys, "data") if key not in asked]
        if missing:
            raise InputError(f"{study.path}: its first line lacks {', '.join(missing)}")
        config = build_config(upgrade_config(asked["config"]), where=f"{study.path}: config")
        plan = cls.from_settings(config, parse_space(asked["space"]), asked)
        return replace(plan, warm_start=asked.get("warm_start"))

    @classmethod
    def from_settings(cls, config: Config, space: Space, settings: Mapping[str, Any]) -> "Plan":
        """Return a plan from the values of :data:`STUDY_SETTINGS`, by name; others are ignored."""
        given = {
            setting: settings[setting.name]
            for setting in STUDY_SETTINGS
            if settings.get(setting.name) is not None
        }
        return cls(
            config=config,
            space=space,
            stop=StopConditions(**{each.name: v for each, v in given.items() if each.stops}),
            **{_attribute(each): v for each, v in given.items() if not each.stops},
        )

    def _value(self, setting: StudySetting) -> Any:
        """Return a setting's value as the record holds it."""
        if setting.name == "trials":
            return self.num_trials
        value = getattr(self.stop if setting.stops else self, _attribute(setting))
        return dict(value) if setting.kind is dict else value


def _attribute(setting: StudySetting) -> str:
    return {"W": "window"}.get(setting.name, setting.name)
