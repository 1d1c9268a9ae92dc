"""A running study obeys requests from outside, records them, and a kill loses none."""

from pathlib import Path
from typing import Any

import pytest

from raytune_yesno.config import build_config
from raytune_yesno.errors import InputError
from raytune_yesno.space import Choice, Float
from raytune_yesno.study import Study, load
from raytune_yesno.study.requests import (
    ENQUEUE,
    STOP,
    STOP_SEARCH,
    Request,
    name_request,
    send,
)
from raytune_yesno.study.store import StudyStore, read_events
from raytune_yesno.tuning.plan import Plan
from raytune_yesno.tuning.request_handler import check_takes_points, complete_request, list_pending
from raytune_yesno.tuning.run import run_search

SPACE: dict[str, Any] = {
    "learning_rate": Float(1e-8, 1e-6, log=True),
    "hidden_units": Choice(4, 8, 16),
}


def build_plan(epochs: int = 3, **options: Any) -> Plan:
    config = build_config({"task": "sine", "epochs": epochs, "learning_rate": 1e-6})
    defaults: dict[str, Any] = {"trials": 2, "search": "random", "scheduler": "fifo"}
    return Plan(config, SPACE, **{**defaults, **options})


class TestPoint:
    def test_what_is_missing_is_as_in_the_config(self) -> None:
        assert complete_request(SPACE, {"learning_rate": 1e-6}, {"hidden_units": "8"}) == {
            "learning_rate": 1e-6,
            "hidden_units": 8,
        }

    @pytest.mark.parametrize(
        ("point", "says"),
        [
            ({"learning_rate": "1", "hidden_units": "8"}, "learning_rate"),
            ({"hidden_units": "9"}, "hidden_units"),
            ({"hidden_units": "8", "epochs": "9"}, "'epochs' is not searched"),
            ({"hidden_units": "8", "learning_rat": "1e-6"}, "did you mean 'learning_rate'"),
            ({"hidden_units": "many"}, "hidden_units"),
        ],
    )
    def test_a_bad_one_is_refused_with_the_reason(self, point: dict[str, Any], says: str) -> None:
        with pytest.raises(InputError, match=says):
            complete_request(SPACE, {"learning_rate": 1e-6}, point)

    def test_ordered_studies_and_populations_take_none(self) -> None:
        for ordered, scheduler in ((True, "asha"), (False, "pbt")):
            with pytest.raises(InputError, match="takes no points"):
                check_takes_points(ordered=ordered, scheduler=scheduler)
        check_takes_points(ordered=False, scheduler="asha")


@pytest.mark.ray
@pytest.mark.usefixtures("ray_cluster")
class TestRunning:
    @pytest.fixture(scope="class")
    @staticmethod
    def study(ray_cluster: str, tmp_path_factory: pytest.TempPathFactory) -> Study:
        """Stop a trial, enqueue a point and stop the search, each when the former is recorded."""
        out = tmp_path_factory.mktemp("study")
        point = {"learning_rate": 1e-6, "hidden_units": 16}
        requests = [
            Request(name_request(), STOP, trial=0),
            Request(name_request(), STOP, trial=77),
            Request(name_request(), ENQUEUE, point=point),
        ]

        def follow(event: dict[str, Any]) -> None:
            if event["event"] == "epoch" and event["trial"] == 0 and event["epoch"] == 1:
                for request in requests:
                    send(str(out), request)
            if event["event"] == "epoch" and event["trial"] == 2 and event["epoch"] == 1:
                send(str(out), Request(name_request(), STOP_SEARCH))

        # No trial would reach its last epoch.
        return run_search(build_plan(epochs=100_000, max_concurrent=2), None, out, listen=follow)

    def test_the_trial_is_stopped(self, study: Study) -> None:
        trial = study.trial_list[0]
        assert trial.status == "stopped"
        assert 0 < len(trial.epochs) < 100_000

    def test_the_point_is_tried_beside_those_of_the_search(self, study: Study) -> None:
        asked = [trial for trial in study.trial_list if trial.request]
        assert [trial.number for trial in asked] == [2]
        assert asked[0].point == {"learning_rate": 1e-6, "hidden_units": 16}
        assert len(study.trial_list) == 3

    def test_the_search_ends(self, study: Study) -> None:
        assert study.searched
        assert "request" in (study.reason or "")
        assert [trial.status for trial in study.trial_list] == ["stopped"] * 3

    def test_requests_are_recorded_before_what_they_cause(self, study: Study) -> None:
        events, problems = read_events(study.path)
        assert not problems
        refused = [event for event in study.requests if event.get("refused")]
        assert [event["trial"] for event in refused] == [77]
        kinds = [(event["event"], event.get("trial")) for event in events]
        assert kinds.index(("requested", 0)) < kinds.index(("ended", 0))
        assert list((study.path / "requests").iterdir()) == []

    def test_what_was_recorded_before_a_kill_is_carried_out_after_it(
        self, ray_cluster: str, tmp_path: Path
    ) -> None:
        plan = build_plan(search="grid", search_options={"levels": 2}, trials=None)
        store, stopped = StudyStore(tmp_path), 0
        store.append("study", format=1, slots=1, data="", corpus={}, **plan.as_dict())
        first = plan.build_algorithm().suggest(0, [])
        store.append("asked", trial=stopped, point=first)
        store.append("started", trial=stopped, attempt=1)
        store.append("requested", request="1.json", action=STOP, trial=stopped)
        point = {"learning_rate": 2e-7, "hidden_units": 16}
        store.append("requested", request="2.json", action=ENQUEUE, point=point)
        assert list_pending(load(tmp_path), plan) == [("2.json", point)]
        study = run_search(plan, None, tmp_path, resume=True)
        assert study.trial_list[stopped].status == "stopped"
        points = [trial.point for trial in study.trial_list]
        assert points.count(point) == 1
        # The grid is complete: the requested trial takes none of its points.
        assert len(points) == plan.num_trials + 1
        assert len({str(point) for point in points}) == plan.num_trials + 1
        assert not study.problems
