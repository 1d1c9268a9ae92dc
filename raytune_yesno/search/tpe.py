"""Tree-structured Parzen estimator (TPE), by dimension (HyperOpt) or joint."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from raytune_yesno.errors import InputError, suggest_name
from raytune_yesno.search.candidates import drop_invalid
from raytune_yesno.search.cube import UnitCube, build_numpy_generator, draw_seed
from raytune_yesno.search.observation import (
    Observation,
    select_failed,
    select_pending,
    select_results,
    select_subset,
)
from raytune_yesno.search.parzen import Parzen
from raytune_yesno.space import INACTIVE, Choice, Point, Space
from raytune_yesno.values import check_at_least


class TPE:
    """Tree-structured Parzen estimator (Bergstra et al., 2011, eq. 2-6).

    Of N results, the best ``gamma`` * sqrt(N), at most 25, form the density l of good points; the
    others form the density g. The proposal is the candidate drawn from l with the largest l / g.
    Running trials count as bad, which keeps parallel suggestions apart; so do failed ones.

    With the joint model, densities span all dimensions (:class:`Parzen`): a learning rate that
    suits one optimiser is not recommended for another. In the search benchmark
    (``docs/search.md``) it found better points of smooth functions than HyperOpt's model, but not
    of recorded training runs, where it explores less.

    Args:
        space: the search space.
        seed: seed of all draws.
        num_initial: results before the model is used; until then, points are random.
        num_candidates: draws from l.
        gamma: see above; HyperOpt's default of 0.25 would give only 2 good results of 50.
        prior_weight: weight of the prior in both densities; a result has weight 1.
        max_results: results in the model: the 25 best and the latest of the others.
        model: ``hyperopt`` for HyperOpt's ``tpe.suggest``, which chooses the value of each
            dimension independently, those of an option from the trials with that option, or
            ``joint``.

    Raises:
        InputError: the model is unknown, or an option is out of range.
    """

    def __init__(
        self,
        space: Space,
        *,
        seed: int,
        num_initial: int = 10,
        num_candidates: int = 24,
        gamma: float = 0.75,
        prior_weight: float = 1.0,
        max_results: int = 2000,
        model: str = "hyperopt",
    ) -> None:
        if model not in ("hyperopt", "joint"):
            raise InputError(
                f"unknown model {model!r}; {suggest_name(model, ('joint', 'hyperopt'))}"
            )
        check_at_least(0, prior_weight=prior_weight)
        self.cube = UnitCube(space)
        self.seed = seed
        self.num_initial = max(num_initial, 1)
        self.num_candidates = max(num_candidates, 1)
        self.gamma = gamma
        self.prior_weight = prior_weight
        self.max_results = max_results
        self.model = model
        deciding = {parent for parent, _ in self.cube.conditions.values()}
        self.num_options = [
            int(domain.num_values) if isinstance(domain, Choice) or dim in deciding else 0
            for dim, domain in enumerate(self.cube.free.values())
        ]
        """Values of a dimension that HyperOpt sees as a choice, such as a list's length; else 0."""

    def suggest(self, number: int, history: Sequence[Observation]) -> Point:
        """Return the point of trial ``number``, given the history."""
        results, losses = select_results(history)
        if len(results) < self.num_initial or not self.cube.dim:
            return self.cube.draw(self.seed, number)
        kept = select_subset(losses, 25, max(self.max_results - 25, 0))
        results, losses = [results[index] for index in kept], [losses[index] for index in kept]
        pending = select_pending(history) + select_failed(history)[-self.max_results :]
        if self.model == "joint":
            return self._suggest_joint(number, results, losses, pending)
        return self._suggest_by_hyperopt(number, results, losses, pending)

    def _suggest_joint(
        self,
        number: int,
        results: list[Observation],
        losses: list[float],
        pending: list[Observation],
    ) -> Point:
        order = np.argsort(losses, kind="stable")
        num_good = min(math.ceil(self.gamma * math.sqrt(len(results))), 25)
        rows_ND = self.cube.encode(results)[order]
        bad_ND = np.concatenate([rows_ND[num_good:], self.cube.encode(pending)])
        good = Parzen(self.cube, rows_ND[:num_good], self.prior_weight)
        bad = Parzen(self.cube, bad_ND, self.prior_weight)
        generator = build_numpy_generator(self.seed, number, 1)
        candidates_CD = self.cube.snap(good.draw(generator, self.num_candidates))
        candidates_CD = drop_invalid(self.cube, candidates_CD)
        ratio_C = good.log_density(candidates_CD) - bad.log_density(candidates_CD)
        return self.cube.decode(candidates_CD[int(np.argmax(ratio_C))])

    def _suggest_by_hyperopt(
        self,
        number: int,
        results: list[Observation],
        losses: list[float],
        pending: list[Observation],
    ) -> Point:
        import hyperopt

        rows_ND = self.cube.encode(results + pending)
        rows, active = rows_ND.tolist(), self.cube.find_active(rows_ND).tolist()
        loss_or_none: list[float | None] = [*losses, *[None] * len(pending)]
        documents = [
            self._document(seen.number, *known)
            for seen, *known in zip(results + pending, rows, active, loss_or_none, strict=True)
        ]
        documents.sort(key=lambda document: int(document["tid"]))
        (proposal,) = hyperopt.tpe.suggest(
            [number],
            self._build_domain(),
            hyperopt.trials_from_docs(documents, validate=False),
            draw_seed(self.seed, number),
            n_startup_jobs=0,
            verbose=False,
            n_EI_candidates=self.num_candidates,
            gamma=self.gamma,
            prior_weight=self.prior_weight,
        )
        found = proposal["misc"]["vals"]  # an empty list for what is not active
        values = [found[name][0] if found[name] else None for name in self.cube.free]
        return self.cube.decode(
            INACTIVE if value is None else (value + 0.5) / num_options if num_options else value
            for value, num_options in zip(values, self.num_options, strict=True)
        )

    def _build_domain(self) -> Any:
        """Return HyperOpt's form of the space; it knows parameters of options itself."""
        from hyperopt import hp
        from hyperopt.base import Domain

        nodes: dict[int, Any] = {}
        for dim, name in reversed(list(enumerate(self.cube.free))):  # what others contain first
            inner = {
                d: cells for d, (parent, cells) in self.cube.conditions.items() if parent == dim
            }
            num_options = self.num_options[dim]
            if inner:
                options = [
                    [nodes[d] for d, cells in inner.items() if option in cells]
                    for option in range(num_options)
                ]
                nodes[dim] = hp.choice(name, options)
            else:
                nodes[dim] = (
                    hp.randint(name, num_options) if num_options else hp.uniform(name, 0, 1)
                )
        names = enumerate(self.cube.free)
        return Domain(
            None, {name: nodes[dim] for dim, name in names if dim not in self.cube.conditions}
        )

    def _document(
        self, number: int, row: Sequence[float], active: Sequence[bool], loss: float | None
    ) -> dict[str, Any]:
        columns = zip(self.cube.free, row, active, self.num_options, strict=True)
        values = {
            name: [int(u * num_options) if num_options else u] if is_active else []
            for name, u, is_active, num_options in columns
        }
        known = {name: [number] * len(value) for name, value in values.items()}
        return {
            "tid": number,
            "state": 2,  # JOB_STATE_DONE
            "result": {"status": "ok", "loss": loss},
            "misc": {"tid": number, "idxs": known, "vals": values},
            "exp_key": None,
        }
