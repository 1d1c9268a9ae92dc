"""The settings of a study, each declared once.

These are derived from :data:`STUDY_SETTINGS`: the flags of ``tune``, the keys of a study file, the
first event of the record, what may change on resume, and the study file in the report. A new
setting needs one entry here, and code in :class:`raytune_yesno.tuning.plan.Plan` that uses it.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class StudySetting:
    """One setting of a study.

    Attributes:
        name: the key in a study file and in the record; with hyphens, the flag.
        kind: ``str``, ``int``, ``float``, ``bool``, ``list`` or ``dict``.
        help: the line of ``tune --help``; empty if the setting has no flag.
        metavar: the placeholder of the flag's value in ``--help``.
        stops: whether the setting is a stop condition, see ``StopConditions``.
    """

    name: str
    kind: type
    help: str = ""
    metavar: str = "N"
    stops: bool = False

    @property
    def on_resume(self) -> bool:
        """Whether the setting may change when a study is resumed."""
        return self.stops or self.name == "trials"


STUDY_SETTINGS = (
    StudySetting("trials", int, "number of trials [32]"),
    StudySetting(
        "search",
        str,
        "auto, tpe, bayesian, pso, genetic, cmaes, bohb, random, grid or manual [auto]",
        "NAME",
    ),
    StudySetting("search_options", dict),
    StudySetting("points", list),
    StudySetting(
        "scheduler",
        str,
        "fifo, asha, hyperband, median or pbt [asha; for search manual: fifo]",
        "NAME",
    ),
    StudySetting("scheduler_options", dict),
    StudySetting("max_concurrent", int, "maximum of parallel trials [as many as fit]"),
    StudySetting("time_budget", float, "end the search after S seconds", "S", stops=True),
    StudySetting(
        "target",
        str,
        "end the search when a trial reaches a value: wer=0, loss=0.1",
        "METRIC=VALUE",
        stops=True,
    ),
    StudySetting("patience", int, "end the search after N trials without improvement", stops=True),
    StudySetting("max_failures", int, "end the search when more than N trials fail", stops=True),
    StudySetting(
        "ordered", bool, "make results independent of timing and slot count; trials may wait"
    ),
    StudySetting("W", int),
    StudySetting(
        "keep_checkpoints",
        int,
        "keep the last checkpoints of the best K trials, so that they can train on [0]",
        "K",
    ),
)
