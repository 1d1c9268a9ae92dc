"""The protocol of search algorithms."""

from collections.abc import Sequence
from typing import Protocol

from raytune_yesno.search.observation import Observation
from raytune_yesno.space import Point


class Algorithm(Protocol):
    """A search that proposes points as a pure function of (space, seed, number, history).

    An algorithm has no state beyond its arguments, and no generator that lives from one proposal
    to the next. A study is therefore resumed from its records alone, and the same records give the
    same points on any machine.
    """

    def suggest(self, number: int, history: Sequence[Observation]) -> Point | None:
        """Return the point of trial ``number``, or None if the search is exhausted.

        Args:
            number: the trial's number, from 0.
            history: observations in the order of their numbers, with gaps for trials that are
                unknown or hidden. Their points must lie inside the space; check points from
                another source with :func:`raytune_yesno.space.check_point`.
        """
