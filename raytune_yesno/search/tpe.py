"""Tree-structured Parzen estimator, by HyperOpt."""

from collections.abc import Sequence
from typing import Any

from raytune_yesno.search.cube import UnitCube, build_generator
from raytune_yesno.search.observation import (
    Observation,
    select_pending,
    select_results,
    select_subset,
)
from raytune_yesno.space import Choice, Point, Space


class TPE:
    """Propose where good results are dense and bad ones are not (Bergstra et al., 2011, eq. 2-6).

    HyperOpt's own `tpe.suggest` over the unit cube: numbers, linear, logarithmic or whole, are
    uniform in [0, 1], choices are categories. The first `num_initial` results come from random
    search. The best gamma * sqrt(N) of N results, at most 25, are the good ones; HyperOpt's own
    gamma of 0.25 leaves it two good ones of 50, with which it learns markedly more slowly.

    A trial in flight has no loss yet, which HyperOpt takes for infinite: it joins the bad ones, and
    so pushes parallel asks apart. Beyond `max_results` HyperOpt sees the best 25 and the latest of
    the others: to the oldest it would give next to no weight.
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
    ) -> None:
        self.cube = UnitCube(space)
        self.seed = seed
        self.num_initial = max(num_initial, 1)
        self.max_results = max_results
        self.options = {
            "n_EI_candidates": num_candidates,
            "gamma": gamma,
            "prior_weight": prior_weight,
        }

    def suggest(self, number: int, history: Sequence[Observation]) -> Point:
        """Return the point of this number, having seen the history."""
        import hyperopt

        results, losses = select_results(history)
        if len(results) < self.num_initial or not self.cube.dim:
            return self.cube.draw(self.seed, number)
        kept = select_subset(losses, 25, self.max_results - 25)
        results, losses = [results[index] for index in kept], [losses[index] for index in kept]
        pending = select_pending(history)
        rows = self.cube.encode(results + pending).tolist()
        told: list[float | None] = [*losses, *[None] * len(pending)]
        documents = [
            self._document(seen.number, row, loss)
            for seen, row, loss in zip(results + pending, rows, told, strict=True)
        ]
        documents.sort(key=lambda document: int(document["tid"]))
        (proposal,) = hyperopt.tpe.suggest(
            [number],
            self._build_domain(),
            hyperopt.trials_from_docs(documents, validate=False),
            int(build_generator(self.seed, number).integers(2**32)),
            n_startup_jobs=0,
            verbose=False,
            **self.options,
        )
        values = {name: value for name, (value,) in proposal["misc"]["vals"].items()}
        return self.cube.decode(
            (values[name] + 0.5) / domain.num_values if isinstance(domain, Choice) else values[name]
            for name, domain in self.cube.free.items()
        )

    def _build_domain(self) -> Any:
        from hyperopt import hp
        from hyperopt.base import Domain

        return Domain(
            None,
            {
                name: hp.randint(name, int(domain.num_values))
                if isinstance(domain, Choice)
                else hp.uniform(name, 0, 1)
                for name, domain in self.cube.free.items()
            },
        )

    def _document(self, number: int, row: Sequence[float], loss: float | None) -> dict[str, Any]:
        values = {
            name: [int(u * domain.num_values) if isinstance(domain, Choice) else u]
            for (name, domain), u in zip(self.cube.free.items(), row, strict=True)
        }
        return {
            "tid": number,
            "state": 2,  # JOB_STATE_DONE
            "result": {"status": "ok", "loss": loss},
            "misc": {"tid": number, "idxs": {name: [number] for name in values}, "vals": values},
            "exp_key": None,
        }
