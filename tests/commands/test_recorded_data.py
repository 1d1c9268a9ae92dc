"""What was read stays known: later commands open the same data, and leave out what was left out."""

import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from helpers.commands import Ended

from raytune_yesno.checkpoint import load_checkpoint
from raytune_yesno.cli import build_parser
from raytune_yesno.commands.common import read_data
from raytune_yesno.commands.plans import plan_study
from raytune_yesno.commands.settings import read_settings
from raytune_yesno.config import build_config
from raytune_yesno.files.output import OutputFolder
from raytune_yesno.space import Float
from raytune_yesno.study.store import StudyStore
from raytune_yesno.task_registry import TASKS
from raytune_yesno.tasks.speech.synthetic import synthesize, write_corpus
from raytune_yesno.tasks.task import describe_data, find_space, load_data
from raytune_yesno.training.loop import fit
from raytune_yesno.tuning.plan import Plan
from raytune_yesno.tuning.run import record_settings

SMALL = ("--set", "channels=4", "--set", "hidden_units=8", "--epochs", "1", "--num-workers", "0")
QUICK = ("--conditions", "none", "--wordless", "0")
OWN = """
from collections import namedtuple
from dataclasses import dataclass
import torch
from raytune_yesno.metrics import Metric
from raytune_yesno.tasks.task import Step

@dataclass(frozen=True)
class Numbers:
    values: torch.Tensor
    source: str = "a file"
    fingerprint: str = "f00d"

class Own:
    metrics = (Metric("loss"),)
    steps_per_epoch = steps_per_pass = 1
    train_scale = 1.0

    @staticmethod
    def load_data(source, *, config, skip_bad=False, progress=None):
        lines = open(source).read().split()
        if "bad" in lines and not skip_bad:
            raise ValueError("a bad line")
        return Numbers(torch.tensor([[float(line)] for line in lines if line != "bad"]))

    def __init__(self, config, data, device, *, refit=False):
        self.data = data

    def build_model(self):
        return torch.nn.Linear(1, 1)

    def steps(self, epoch, rank, world_size):
        yield Step(self.data.values[rank::world_size], 0.5)

    def loss(self, model, shard, progress):
        return model(shard).pow(2).sum()

    def validate(self, model, rank, world_size):
        return model(self.data.values[rank::world_size]).pow(2).sum().double()

    def metrics_of(self, sums):
        return {"loss": sums}

class Slots(Own):
    @staticmethod
    def load_data(source, *, config, skip_bad=False, progress=None):
        return namedtuple("Pair", "values source fingerprint")(*vars(
            Own.load_data(source, config=config, skip_bad=skip_bad)).values())
"""


@pytest.fixture
def spoilt(tmp_path: Path) -> Path:
    """Return a corpus with an empty file."""
    folder = tmp_path / "spoilt"
    write_corpus(synthesize(10), folder)
    next(folder.rglob("*.wav")).write_bytes(b"")
    return folder


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return a task that reads a file, and has no other name for it."""
    (tmp_path / "own_numbers.py").write_text(OWN)
    (tmp_path / "numbers.txt").write_text("1 2 bad")
    monkeypatch.chdir(tmp_path)
    return "own_numbers.py:Own"


class TestBadRecordings:
    def test_commands_that_follow_a_run_leave_them_out(
        self, spoilt: Path, tmp_path: Path, run: Callable[..., Ended]
    ) -> None:
        out = str(tmp_path / "run")
        train = ("train", "--data", str(spoilt), "--out", out, *SMALL)
        assert run(*train).code == 2
        ended = run(*train, "--skip-bad")
        assert ended.code == 0
        commands = [line.strip() for line in ended.out.split("next:")[1].splitlines()[1:]]
        assert {shlex.split(command)[1] for command in commands} == {"evaluate", "predict"}
        for command in commands:
            words = shlex.split(command)[1:]
            again = run(*words, *(QUICK if words[0] == "evaluate" else ()))
            assert (again.code, "warning" in again.err) == (0, False), again.err
        assert run("train", "--resume", out, "--epochs", "2").code == 0
        assert run(*train, "--epochs", "3").code == 0
        assert run("evaluate", f"{out}/best", *QUICK, "--data", str(spoilt)).code == 2

    def test_a_run_of_an_earlier_version_asks_for_the_option(
        self, spoilt: Path, tmp_path: Path, run: Callable[..., Ended]
    ) -> None:
        out = tmp_path / "run"
        assert (
            run("train", "--data", str(spoilt), "--skip-bad", "--out", str(out), *SMALL).code == 0
        )
        settings = yaml.safe_load((out / "settings.yaml").read_text())
        assert settings.pop("skip_bad") is True
        (out / "settings.yaml").write_text(yaml.safe_dump(settings))
        resume = ("train", "--resume", str(out), "--epochs", "2")
        assert run(*resume).code == 2
        assert run(*resume, "--skip-bad").code == 0

    def test_a_study_leaves_them_out(self, spoilt: Path, tmp_path: Path) -> None:
        config = build_config({"channels": (4,), "hidden_units": 8, "epochs": 1})
        data = load_data(config, str(spoilt), skip_bad=True)
        plan = Plan.from_settings(config, find_space(config), {})
        study = tmp_path / "study"
        record_settings(plan, StudyStore(study), 1, str(spoilt), data, None)
        options = build_parser().parse_args(["tune", "--resume", str(study), "--quiet"])
        settings = read_settings(options)
        plan, *_ = plan_study(settings, options, OutputFolder.of(study))
        found = read_data(settings, options, plan.config)
        assert describe_data(found) == describe_data(data)

    def test_a_settings_file_may_ask_for_it(self, spoilt: Path, tmp_path: Path) -> None:
        (tmp_path / "study.yaml").write_text(f"data: {spoilt}\nskip_bad: yes\n")
        options = build_parser().parse_args(["train", "--config", str(tmp_path / "study.yaml")])
        assert read_data(read_settings(options), options, build_config())

    def test_check_and_doctor_accept_the_rest(
        self, spoilt: Path, run: Callable[..., Ended]
    ) -> None:
        strict = run("corpus", "check", str(spoilt), "--json")
        lenient = run("corpus", "check", str(spoilt), "--skip-bad", "--json")
        assert (strict.code, lenient.code) == (2, 0)
        assert len(lenient.json["problems"]) == len(strict.json["problems"]) == 1
        assert "parts" in lenient.json.keys() - strict.json.keys()
        for words, status in (((), "problem"), (("--skip-bad",), "ok")):
            checks = run("doctor", "--data", str(spoilt), *words, "--json").json["checks"]
            assert [c["status"] for c in checks if c["name"] == "corpus"] == [status]


class TestOwnTask:
    def test_evaluate_reads_the_data_of_the_training(
        self, own: str, run: Callable[..., Ended]
    ) -> None:
        train = ("train", "--task", own, "--data", "numbers.txt", "--num-workers", "0")
        ended = run(*train, "--epochs", "1", "--skip-bad", "--out", "run")
        assert ended.code == 0, ended.err
        ended = run("evaluate", "run/best", "--task", own, "--json")
        assert (ended.code, "warning" in ended.err) == (0, False), ended.err
        assert ended.json["corpus"] == load_checkpoint(Path("run/best")).corpus
        assert run("train", "--resume", "run", "--task", own, "--epochs", "2").code == 0
        Path("numbers.txt").rename("moved.txt")
        ended = run("evaluate", "run/best", "--task", own)
        assert ended.code == 1
        assert "--data" in ended.err
        assert "numbers.txt" in ended.err
        ended = run("evaluate", "run/best", "--task", own, "--data", "moved.txt")  # with a bad line
        assert ended.code == 1
        assert "a bad line" in ended.err
        assert "--data" not in ended.err
        moved = ("--data", "moved.txt", "--skip-bad")
        assert run("evaluate", "run/best", "--task", own, *moved).code == 0

    def test_data_that_take_no_attribute_are_read_too(
        self, own: str, run: Callable[..., Ended]
    ) -> None:
        own = own.replace("Own", "Slots")
        TASKS.trust(own)
        config = build_config({"task": own, "epochs": 1})
        data = load_data(config, "numbers.txt", skip_bad=True)
        next(fit(config, data)).save(Path("last"))
        words = ("--data", "numbers.txt", "--skip-bad")
        assert run("evaluate", "last", "--task", own, *words).code == 0

    def test_a_trial_of_a_study_can_be_replayed(
        self, own: str, run: Callable[..., Ended], tmp_path: Path
    ) -> None:
        TASKS.trust(own)
        config = build_config({"task": own, "epochs": 1})
        data = load_data(config, "numbers.txt", skip_bad=True)
        plan = Plan.from_settings(config, {"learning_rate": Float(0.1, 1.0)}, {})
        record_settings(plan, StudyStore(tmp_path / "study"), 1, "numbers.txt", data, None)
        ended = run("tune", "--replay", str(tmp_path / "study"), "0", "--task", own)
        assert ended.code == 2
        assert "trial 0" in ended.err
