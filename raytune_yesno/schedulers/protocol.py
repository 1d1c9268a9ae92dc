"""The protocol of schedulers of a study, in addition to Ray Tune's own."""

from collections.abc import Callable, Collection, Iterable
from typing import Protocol

from raytune_yesno.study import Trial
from raytune_yesno.study.store import StudyStore


class StudyScheduler(Protocol):
    """A Ray Tune scheduler whose state is a function of a study's records."""

    synchronous: bool
    """Whether trials wait for each other, so that the scheduler decides how many run."""

    stopped: Collection[int]
    """Unfinished trials that it had stopped, and whose end was not recorded; see :meth:`prepare`.
    A scheduler in which trials wait stops them itself, once they are added."""

    def prepare(
        self,
        earlier: Iterable[Trial],
        *,
        num_trials: int,
        slots: int,
        store: StudyStore,
        on_wait: Callable[[int], None],
    ) -> None:
        """Rebuild the state from the records of earlier trials, before any trial is added.

        Args:
            earlier: the study's trials so far; empty in a new study.
            num_trials: trials of the whole study.
            slots: trials that can run at a time.
            store: where a scheduler records what it changes.
            on_wait: called with the number of a trial that pauses to wait for others.
        """

    @property
    def has_room(self) -> bool:
        """Whether a new trial may start."""

    @property
    def has_live_trials(self) -> bool:
        """Whether a trial has not ended."""

    def expect(self, change: int) -> None:
        """Expect more trials than before, or fewer if ``change`` is negative."""

    def end(self, number: int) -> None:
        """Note that an earlier trial has ended that Ray Tune was not given again."""
