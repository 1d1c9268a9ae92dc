"""Studies, runs and checkpoints of version 0.1 can still be read and resumed."""

import json
import math
import shutil
from pathlib import Path

import pytest
import torch

from raytune_yesno.checkpoint import load_checkpoint
from raytune_yesno.report import write_report
from raytune_yesno.study import Study, load
from raytune_yesno.study.store import STORE
from raytune_yesno.tasks.speech.recognizer import Recognizer
from raytune_yesno.tasks.speech.synthetic import synthesize
from raytune_yesno.training.loop import fit
from raytune_yesno.tuning.plan import Plan
from raytune_yesno.tuning.plan_checks import check_plan
from raytune_yesno.tuning.refit import best_config

EARLIER = Path(__file__).parents[1] / "fixtures" / "version_0_1"


def read_losses(folder: Path) -> dict[int, list[float]]:
    """Return the validation losses of each trial from the lines of the record."""
    losses: dict[int, list[float]] = {}
    for line in (folder / STORE).read_text().splitlines():
        event = json.loads(line)
        if event["event"] == "epoch":
            losses.setdefault(event["trial"], []).append(event["valid_loss"] or math.inf)
    return losses


@pytest.fixture(params=["study_yesno", "study_sine"])
def study(request: pytest.FixtureRequest) -> Study:
    return load(EARLIER / request.param)


class TestStudies:
    def test_are_judged_by_the_lowest_loss_of_an_epoch(self, study: Study) -> None:
        assert not study.problems
        losses = read_losses(study.path)
        assert {trial.number: len(trial.epochs) for trial in study.trial_list} == {
            number: len(found) for number, found in losses.items()
        }
        assert study.best is not None
        assert study.best.metrics["valid_loss"] == min(map(min, losses.values()))

    def test_can_be_extended(self, study: Study) -> None:
        plan = Plan.from_study(study).extend(study, 2)
        check_plan(plan)
        assert plan.num_trials == len(study.trial_list) + 2
        assert plan.config.objective.metric.name == "valid_loss"

    def test_keep_their_network_and_features(self) -> None:
        study = load(EARLIER / "study_yesno")
        assert study.best is not None
        config = best_config(study, study.best)
        assert (config.as_dict()["model"], config.as_dict()["features"]) == ("cnn", "recording")

    def test_have_a_report(self, study: Study, tmp_path: Path) -> None:
        page = write_report([study], tmp_path).html.read_text()
        assert ("word error rate" in page) == (study.task == "yesno")


class TestCheckpoints:
    @pytest.mark.parametrize("name", ["run_cnn/best", "study_yesno/refit/last"])
    def test_recognise_words(self, name: str) -> None:
        recognizer = Recognizer(load_checkpoint(EARLIER / name))
        corpus = synthesize(2)
        words = recognizer.transcribe(torch.from_numpy(corpus.waveform(0).copy())[None])
        assert recognizer.vocabulary == ("no", "yes")
        assert {word.word for word in words} <= {"no", "yes"}

    def test_give_the_same_figures_when_trained_again(self, tmp_path: Path) -> None:
        """The polynomial is deterministic: training it again gives the recorded losses."""
        folder = tmp_path / "run"
        shutil.copytree(EARLIER / "run_sine", folder)
        checkpoint = load_checkpoint(folder / "best")
        assert checkpoint.config.as_dict().keys().isdisjoint({"channels", "swap_halves"})
        trained = [record.metrics for record in fit(checkpoint.config)]
        for metric in ("train_loss", "valid_loss"):
            recorded = [epoch[metric] for epoch in checkpoint.history]
            assert [epoch[metric] for epoch in trained] == pytest.approx(recorded, rel=1e-5)
