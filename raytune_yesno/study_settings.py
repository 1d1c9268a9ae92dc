"""The settings of a study, each declared once.

The flags of ``tune``, the keys of a study file, the record's first event, what may change when a
study is resumed and the report's study file are all derived from :data:`STUDY_SETTINGS`: a new
setting is one more entry here, and its use in :class:`raytune_yesno.tuning.plan.Plan`.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class StudySetting:
    """One setting of a study.

    Attributes:
        name: its key in a study file and in the record; its flag, with hyphens.
        kind: ``str``, ``int``, ``float``, ``bool`` or ``dict``.
        help: the line of ``tune --help``; empty if it has no flag.
        metavar: what the flag takes, for ``--help``.
        stops: it ends the search early, see ``StopConditions``; it may change on resume.
    """

    name: str
    kind: type
    help: str = ""
    metavar: str = "N"
    stops: bool = False

    @property
    def on_resume(self) -> bool:
        """Whether it may change when a study is resumed."""
        return self.stops or self.name == "trials"


STUDY_SETTINGS = (
    StudySetting("trials", int, "how many trials [32]"),
    StudySetting(
        "search",
        str,
        "manual, grid, random, tpe, bayesian, pso, genetic, cmaes or bohb [tpe]",
        "NAME",
    ),
    StudySetting("search_options", dict),
    StudySetting(
        "scheduler",
        str,
        "fifo, asha, hyperband, median or pbt [asha; of search manual fifo]",
        "NAME",
    ),
    StudySetting("scheduler_options", dict),
    StudySetting("max_concurrent", int, "most trials at a time [as many as fit]"),
    StudySetting("time_budget", float, "end the search after S seconds", "S", stops=True),
    StudySetting(
        "target",
        str,
        "end the search once a trial reaches it: wer=0, loss=0.1",
        "METRIC=VALUE",
        stops=True,
    ),
    StudySetting(
        "patience", int, "end the search when N trials have brought no improvement", stops=True
    ),
    StudySetting(
        "max_failures", int, "end the search when more than N trials have failed", stops=True
    ),
    StudySetting(
        "ordered", bool, "make results independent of timing and slot count; trials may wait"
    ),
    StudySetting("W", int),
)
