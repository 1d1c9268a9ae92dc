"""Studies of several objectives with limits, from Python, on a cluster."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from raytune_yesno import pareto, tune
from raytune_yesno.space import Float
from raytune_yesno.study.candidates import result_costs

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("ray_cluster")]

SPACE = {"x": Float(0, 1), "y": Float(0, 1)}


class Shrink:
    """Trade a miss, which falls with the epochs, for a size, which is known before."""

    def __call__(self, config: dict[str, Any]) -> Iterator[dict[str, float]]:
        for epoch in range(1, config["epochs"] + 1):
            miss = (1 - config["x"]) ** 2 + config["y"] + 1 / epoch
            yield {"miss": miss, **self.costs(config)}

    @staticmethod
    def costs(config: dict[str, Any]) -> dict[str, float]:
        return {"size": 1000 * (config["x"] + config["y"])}


def test_an_ordered_study_has_a_front_within_its_limits(tmp_path: Path) -> None:
    asked: dict[str, Any] = {
        "objectives": ["miss:min", "size:min"],
        "limits": ["size<=900", "miss<=1.2"],
        "prefer": "size<=500",
        "epochs": 4,
        "ordered": True,
        "max_concurrent": 2,
        "quiet": True,
    }
    study = tune(Shrink(), SPACE, trials=12, out=tmp_path / "study", **asked)
    vectors = [result_costs(trial) for trial in study.trial_list]
    assert len(vectors) == 12
    assert max(size for _, size in vectors) <= 900  # a larger point costs no trial
    assert "stopped" in {trial.status for trial in study.trial_list}
    kept = [v for v in vectors if v[0] <= 1.2] or vectors
    assert sorted(map(result_costs, study.front)) == sorted(
        kept[i] for i in pareto.find_front(kept)
    )
    assert study.best is not None
    assert study.best in study.front
    assert study.refit is not None
    longer = tune(Shrink(), SPACE, trials=13, out=tmp_path / "study", **asked)
    assert [t.point for t in longer.trial_list[:12]] == [t.point for t in study.trial_list]
