"""A search algorithm as a Searcher of Ray Tune."""

import dataclasses
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from ray.tune.search import Searcher

from raytune_yesno.errors import InputError
from raytune_yesno.search.cube import UnitCube
from raytune_yesno.search.observation import History, Observation, was_tried
from raytune_yesno.search.protocol import Algorithm
from raytune_yesno.space import Point, Space

Vector: TypeAlias = tuple[float, ...]


class AlgorithmSearcher(Searcher):  # type: ignore[misc]
    """A Ray Tune searcher that suggests the points of an algorithm.

    A trial's score is the best value of the metric that it has reported. A trial whose last value
    is not finite, or whose result says ``diverged``, has diverged; one that raised, or reported
    nothing, has failed.

    Args:
        algorithm: the search algorithm.
        metric: the key of the result to optimise.
        mode: ``min`` or ``max``.
        history: trials of earlier runs.
        points: known points, tried first; the algorithm chooses the values that they lack.
        space: the search space, by which known points are completed.
        offset: the number of the trial that tries the first of them.
    """

    def __init__(
        self,
        algorithm: Algorithm,
        *,
        metric: str,
        mode: str,
        history: Iterable[Observation] = (),
        points: Sequence[Point] = (),
        space: Space | None = None,
        offset: int = 0,
    ) -> None:
        super().__init__(metric=metric, mode=mode)
        self.algorithm = algorithm
        self.history = History(history)
        self.points = points
        self.names = frozenset(space or ())
        self.cube = UnitCube(space) if space and points else None
        self.offset = offset
        self.num_requested = 0
        """Trials from ``offset`` on whose points another source has added."""
        self.numbers: dict[str, int] = {}
        """The number of each running trial, by Ray's identifier."""

    def set_search_properties(
        self, metric: str | None, mode: str | None, config: Mapping[str, Any], **spec: Any
    ) -> bool:
        """Set the metric and mode of Ray's TuneConfig, which override those of the searcher.

        Returns:
            False: this tells Ray that the searcher has a space of its own. Ray then refuses domains
            in ``param_space``, and merges its constants with each point.

        Raises:
            InputError: ``param_space`` has our domains, too. Ray's Tuner has replaced them by
                references (tuples), and could not resolve these in a point.
        """
        if twice := sorted(name for name in self.names if isinstance(config.get(name), tuple)):
            raise InputError(
                f"param_space: leave out {', '.join(twice)}; the searcher has the search space"
            )
        if metric:
            self._metric = metric
        if mode:
            self._mode = mode
        return False

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """Return the next point, or FINISHED if the search is exhausted."""
        number = self.history.next_number
        proposed = self.propose(number, self.select_seen(number))
        if proposed is None:
            return str(Searcher.FINISHED)
        self.add(trial_id, proposed)
        return dict(proposed.point)

    def add(self, trial_id: str, proposed: Observation) -> None:
        """Add a trial with a point of any source."""
        self.numbers[trial_id] = proposed.number
        self.history.observe(proposed)

    def propose(self, number: int, history: Sequence[Observation]) -> Observation | None:
        """Return the trial to start next, or None if the search is exhausted."""
        point = self.propose_point(number, history)
        return None if point is None else Observation(number, point)

    def propose_point(self, number: int, history: Sequence[Observation]) -> Point | None:
        """Return the point after the first ``number`` ones, or None if the search is exhausted."""
        point = self.algorithm.suggest(self.count_proposals(number), history)
        index = number - self.num_requested - self.offset
        if point is not None and index < len(self.points):
            known = self.points[index]
            known = self.cube.complete(known, point, index) if self.cube else point | known
            return point if was_tried(known, history) else known
        return point

    def count_proposals(self, number: int) -> int:
        """Return the number of a point that the algorithm is asked for."""
        return number

    def select_seen(self, number: int) -> Sequence[Observation]:
        """Return the observations that the algorithm may use for the point of a trial."""
        return self.history

    def on_trial_result(self, trial_id: str, result: Mapping[str, Any]) -> None:
        """Record the loss of an epoch."""
        value = result.get(self.metric)
        if trial_id not in self.numbers or value is None:
            return
        seen = self.history.find(self.numbers[trial_id])
        epochs = int(result.get("training_iteration", seen.epochs + 1))
        if epochs <= seen.epochs:  # reported twice, or resumed from an earlier checkpoint
            return
        loss = float(value) if self.mode == "min" else -float(value)
        seen = dataclasses.replace(seen, epochs=epochs, losses=(*seen.losses, loss))
        if math.isfinite(loss) and (seen.loss is None or loss <= seen.loss):
            costs, excesses = self.read_vectors(result)
            seen = dataclasses.replace(seen, loss=loss, costs=costs, excesses=excesses)
        self.history.observe(seen)

    def read_vectors(self, result: Mapping[str, Any]) -> tuple[Vector, Vector]:
        """Return the costs and the excesses of an epoch; none here, where all keys are a user's."""
        return (), ()

    def on_trial_complete(
        self, trial_id: str, result: Mapping[str, Any] | None = None, error: bool = False
    ) -> None:
        """Record how a trial ended."""
        if trial_id not in self.numbers:
            return
        self.on_trial_result(trial_id, result or {})
        seen = self.history.find(self.numbers.pop(trial_id))
        if error or not seen.losses:
            ended = dataclasses.replace(seen, status="failed")
        elif (result or {}).get("diverged") or not math.isfinite(seen.losses[-1]):
            ended = dataclasses.replace(seen, status="diverged")
        else:
            ended = dataclasses.replace(seen, status="done")
        self.history.observe(ended)

    def save(self, checkpoint_path: str) -> None:
        """Write all observations to a JSON file."""
        state = {
            "history": [vars(seen) for seen in self.history],
            "numbers": self.numbers,
        }
        Path(checkpoint_path).write_text(json.dumps(state), encoding="utf-8")

    def restore(self, checkpoint_path: str) -> None:
        """Read a file written by :meth:`save`; the algorithm needs no other state."""
        state = json.loads(Path(checkpoint_path).read_text(encoding="utf-8"))
        vectors = ("losses", "costs", "excesses")
        self.history = History(
            Observation(**record | {key: tuple(record.get(key, ())) for key in vectors})
            for record in state["history"]
        )
        self.numbers = state["numbers"]
