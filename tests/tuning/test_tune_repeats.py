"""Studies with repeats and a final round on a real cluster."""

import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
from helpers.searching import assert_exact

from raytune_yesno.config import build_config
from raytune_yesno.errors import Interrupted
from raytune_yesno.study import Study, load
from raytune_yesno.tasks.task import find_space
from raytune_yesno.tuning.plan import Plan
from raytune_yesno.tuning.plan_checks import check_plan
from raytune_yesno.tuning.progress import Progress
from raytune_yesno.tuning.run import run_search

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("ray_cluster")]

TRIALS, FINALISTS, SEEDS = 8, 2, 2
TOTAL = TRIALS + FINALISTS * SEEDS


def build_plan(slots: int, **options: Any) -> Plan:
    config = build_config({"task": "sine", "epochs": 4, "seed": 5})
    plan = Plan(
        config,
        find_space(config),
        search="random",
        scheduler="asha",
        trials=TRIALS,
        max_concurrent=slots,
        repeats={"min": 1, "max": 3},
        final_round={"points": FINALISTS, "seeds": SEEDS},
        **options,
    )
    check_plan(plan)
    return plan


def outcome(study: Study) -> list[Any]:
    """Return what must not depend on slots or interruptions."""
    trials = [
        (t.number, t.status, t.point, t.repeat_of, t.seed, t.final, t.costs)
        for t in study.trial_list
    ]
    assert study.best
    return [trials, study.finalists, study.best.number, study.candidates[0].epochs]


def check_study(study: Study) -> None:
    assert_exact(study, TOTAL)
    finals = [trial for trial in study.trial_list if trial.final]
    assert [trial.number for trial in finals] == list(range(TRIALS, TOTAL))
    assert len({(trial.repeat_of, trial.seed) for trial in finals}) == len(finals)
    points = {trial.number: trial.point for trial in study.trial_list}
    earlier = {(t.repeat_of, t.seed) for t in study.trial_list if not t.final}
    for trial in finals:
        assert trial.status in ("done", "diverged")  # no scheduler stops it
        assert trial.point == points[trial.repeat_of or 0]
        assert (trial.repeat_of, trial.seed) not in earlier
    assert study.finalists is not None
    assert study.best
    assert study.best.number in study.finalists


class TestOrdered:
    """One study as a whole, and one that is interrupted twice, the second time in the final round.

    From there the second one is resumed as it is, and a copy of it with more trials.
    """

    @pytest.fixture(scope="class")
    @staticmethod
    def whole(ray_cluster: str, tmp_path_factory: pytest.TempPathFactory) -> Study:
        return run_search(build_plan(2, ordered=True), None, tmp_path_factory.mktemp("whole"))

    @pytest.fixture(scope="class")
    @staticmethod
    def parts(whole: Study, tmp_path_factory: pytest.TempPathFactory) -> Path:
        num_epochs = sum(len(trial.epochs) for trial in whole.trial_list)
        folder = tmp_path_factory.mktemp("parts")
        for part, stop_after in enumerate((num_epochs // 3, num_epochs - 3)):
            interrupted: list[int] = []

            def interrupt(
                progress: Progress, after: int = stop_after, seen: Any = interrupted
            ) -> None:
                if progress.epochs >= after and not seen:
                    seen.append(progress.epochs)
                    os.kill(os.getpid(), signal.SIGINT)

            plan = build_plan(1, ordered=True)
            with pytest.raises(Interrupted):
                run_search(plan, None, folder, resume=bool(part), on_progress=interrupt)
            assert not load(folder).searched
        return folder

    def test_has_finalists(self, whole: Study) -> None:
        check_study(whole)
        assert any(trial.repeat_of is not None and not trial.final for trial in whole.trial_list)

    def test_is_the_same_on_any_number_of_slots_and_after_interruptions(
        self, whole: Study, parts: Path, tmp_path: Path
    ) -> None:
        shutil.copytree(parts, tmp_path, dirs_exist_ok=True)
        assert load(tmp_path).finalists == whole.finalists
        resumed = run_search(Plan.from_study(load(tmp_path)), None, tmp_path, resume=True)
        check_study(resumed)
        assert outcome(resumed) == outcome(whole)

    def test_trials_added_in_a_final_round_are_those_of_the_search(self, parts: Path) -> None:
        """The trials of the interrupted final round continue after the new ones."""
        before = load(parts)
        assert before.finalists is not None
        unfinished = {trial.number for trial in before.trial_list if trial.status == "running"}
        assert unfinished
        plan = Plan.from_study(before)
        study = run_search(plan, None, parts, resume=True, add_trials=2)
        assert sum(not trial.final for trial in study.trial_list) == TRIALS + 2
        assert {t.number for t in study.trial_list if t.status == "done"} >= unfinished
        assert len(study.trial_list) == TOTAL + 2 + FINALISTS * SEEDS


def test_a_finished_study_gets_another_final_round_when_it_is_extended(tmp_path: Path) -> None:
    study = run_search(build_plan(2), None, tmp_path)
    check_study(study)
    plan = Plan.from_study(study)
    longer = run_search(plan, None, tmp_path, resume=True, add_trials=2)
    finals = [trial.number for trial in longer.trial_list if trial.final]
    assert finals == [*range(TRIALS, TOTAL), *range(TOTAL + 2, TOTAL + 2 + FINALISTS * SEEDS)]
    seeds = [(trial.repeat_of, trial.seed) for trial in longer.trial_list if trial.seed]
    assert len(set(seeds)) == len(seeds)
