"""Begin or continue with one command: `train` and `tune` on a folder that holds earlier work."""

import json
import shlex
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from helpers.builders import write_study

from raytune_yesno import cli
from raytune_yesno.checkpoint import load_checkpoint
from raytune_yesno.commands.next_steps import suggest_next
from raytune_yesno.commands.plans import plan_study
from raytune_yesno.commands.settings import read_settings
from raytune_yesno.config import build_config, declare_task
from raytune_yesno.errors import InputError
from raytune_yesno.files.output import OutputFolder
from raytune_yesno.space import Float, format_space
from raytune_yesno.study import load
from raytune_yesno.study.store import STORE, StudyStore
from raytune_yesno.task_registry import TASKS
from raytune_yesno.tuning.continuation import compare_plans, continue_study
from raytune_yesno.tuning.plan import Plan
from raytune_yesno.tuning.resume import resume_trials
from raytune_yesno.tuning.stop_conditions import StopConditions

SINE = ("train", "--task", "sine", "--num-workers", "0", "--epochs", "3")
TUNE = ("tune", "--task", "sine", "--epochs", "3", "--trials", "2", "--search", "random")


def read_error(capsys: pytest.CaptureFixture[str]) -> str:
    *_, line = capsys.readouterr().err.splitlines()
    return line


class TestTrain:
    def test_the_same_command_continues_and_then_prints_the_result(
        self, tmp_path: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        out = tmp_path / "run"
        assert cli.main([*SINE, "--out", str(out)]) == 0
        before = (out / "history.jsonl").read_text()
        capfd.readouterr()
        assert cli.main([*SINE, "--out", str(out), "--json"]) == 0
        assert len(json.loads(capfd.readouterr().out)["history"]) == 3
        assert (out / "history.jsonl").read_text() == before

    def test_more_epochs_train_on(self, tmp_path: Path) -> None:
        out = str(tmp_path / "run")
        assert cli.main([*SINE, "--out", out]) == 0
        assert cli.main([*SINE[:-1], "5", "--out", out]) == 0
        assert load_checkpoint(tmp_path / "run/last").epoch == 5

    def test_other_settings_are_named_and_nothing_is_changed(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        out = tmp_path / "run"
        assert cli.main([*SINE, "--out", str(out)]) == 0
        before = (out / "last/checkpoint.json").read_bytes()
        capsys.readouterr()
        assert cli.main([*SINE, "--out", str(out), "--seed", "7"]) == 2
        line = read_error(capsys)
        assert "seed: 0, now 7" in line
        assert f"--resume {out}" in line
        assert "--fresh" in line
        assert (out / "last/checkpoint.json").read_bytes() == before

    def test_a_run_that_trained_nothing_gives_way(self, tmp_path: Path) -> None:
        out = tmp_path / "run"
        assert cli.main([*SINE, "--out", str(out)]) == 0
        for name in ("last", "best"):
            shutil.rmtree(out / name)
        assert cli.main([*SINE, "--out", str(out), "--seed", "7"]) == 0
        assert load_checkpoint(out / "last").config.seed == 7

    def test_fresh_keeps_the_earlier_run(self, tmp_path: Path) -> None:
        out = tmp_path / "run"
        assert cli.main([*SINE, "--out", str(out)]) == 0
        for seed in (7, 8):
            assert cli.main([*SINE, "--out", str(out), "--seed", str(seed), "--fresh"]) == 0
        seeds = {
            folder.name: load_checkpoint(folder / "last").config.seed
            for folder in tmp_path.iterdir()
        }
        assert seeds == {"run-1": 0, "run-2": 7, "run": 8}
        assert cli.main([*SINE, "--out", str(out), "--fresh", "--set", "dropout=7"]) == 2
        assert load_checkpoint(out / "last").config.seed == 8

    def test_half_a_record_of_a_killed_command_has_not_begun(self, tmp_path: Path) -> None:
        out = tmp_path / "run"
        out.mkdir()
        (out / ".settings.yaml.4711").write_text("data: ye")
        assert cli.main([*SINE, "--out", str(out)]) == 0
        assert {path.name for path in out.iterdir()} >= {"settings.yaml", "last", "best"}
        assert not (out / ".settings.yaml.4711").exists()


def write_finished(folder: Path) -> Plan:
    """Write the record of a finished study of two trials."""
    config = build_config({"task": "sine", "epochs": 3})
    plan = Plan(config, {"learning_rate": Float(1e-7, 1e-5, log=True)}, trials=2, search="random")
    store = StudyStore(folder)
    store.append("study", data="yesno", corpus={}, slots=1, **plan.as_dict())
    for number in range(2):
        store.append("asked", trial=number, point={"learning_rate": 1e-6 * (number + 1)})
        store.append("started", trial=number, attempt=1)
        for epoch in range(1, 4):
            values = {"train_loss": 9.0 - epoch, "valid_loss": 8.0 - epoch + number}
            about = {"host": "here", "pid": 1, "seconds": 0.1, "began": 1.0, "ended": 1.1}
            store.append("epoch", trial=number, attempt=1, epoch=epoch, **values, **about)
        store.append("ended", trial=number, status="done")
    store.append("searched")
    store.append("refitted", checkpoint=f"{folder}/refit/last", epochs=3, trial=0, seed=0)
    return plan


@pytest.fixture
def unfinished(finished: Path) -> Path:
    """Return a study whose search was interrupted in its last trial."""
    lines = (finished / STORE).read_text().splitlines(keepends=True)
    (finished / STORE).write_text("".join(lines[:-3]))
    StudyStore(finished).append("resumed", slots=1, trials=2, patience=9)
    return finished


@pytest.fixture
def finished(tmp_path: Path) -> Path:
    write_finished(tmp_path / "study")
    (tmp_path / "space.yaml").write_text("learning_rate: {float: [1e-7, 1e-5], log: true}\n")
    return tmp_path / "study"


def command(study: Path, *more: str) -> list[str]:
    return [*TUNE, "--space", str(study.parent / "space.yaml"), "--out", str(study), *more]


class TestTune:
    def test_a_finished_study_prints_its_result(
        self, finished: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        before = (finished / STORE).read_bytes()
        assert cli.main(command(finished, "--json")) == 0
        result = json.loads(capfd.readouterr().out)
        assert result["trials"] == 2
        assert result["best"]["trial"] == 0
        assert result["refit"] == {
            "checkpoint": f"{finished}/refit/last",
            "epochs": 3,
            "trial": 0,
            "seed": 0,
        }
        assert (finished / STORE).read_bytes() == before

    def test_the_report_is_written_and_the_next_commands_can_be_pasted(
        self, finished: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        assert cli.main(command(finished, "--no-report")) == 0
        said = capfd.readouterr().out
        assert not (finished / "report.html").exists()
        assert "report: " not in said
        _, _, following = said.partition("\nnext:\n")
        for line in following.splitlines():
            program, *words = shlex.split(line)
            assert program == "raytune-yesno"
            cli.build_parser().parse_args(words)
        for part in (f"report {finished}", f"--resume {finished}"):
            assert part in following
        assert cli.main(command(finished)) == 0
        assert f"report: {finished / 'report.html'}" in capfd.readouterr().out
        assert (finished / "report.html").is_file()

    def test_the_next_commands_use_the_checkpoint_of_the_refit(self, tmp_path: Path) -> None:
        study = write_study(tmp_path / "study", 4)
        checkpoint = str(tmp_path / "study/refit/last")
        commands = list(suggest_next(study, {"checkpoint": checkpoint}, str(tmp_path / "study")))
        for name in ("evaluate", "predict"):
            (found,) = [each for each in commands if f" {name} {checkpoint}" in each]
            _, *words = shlex.split(found)
            cli.build_parser().parse_args(words)
        assert found.endswith("--sample")  # of the corpus: a recording that everyone has
        assert any("--retry failed" in each for each in commands)

    @pytest.mark.parametrize(
        ("more", "says"),
        [
            (("--seed", "4"), "seed: 0, now 4"),
            (("--trials", "5"), "trials: 2, now 5"),
            (("--set", "hidden_units=7"), "hidden_units: "),
            (("--scheduler", "fifo"), 'scheduler: "asha", now "fifo"'),
            (("--ordered",), "ordered: false, now true"),
        ],
    )
    def test_other_settings_are_named(
        self,
        more: tuple[str, ...],
        says: str,
        finished: Path,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        before = (finished / STORE).read_bytes()
        assert cli.main(command(finished, *more)) == 2
        line = read_error(capsys)
        assert says in line
        assert f"--resume {finished}" in line
        assert (finished / STORE).read_bytes() == before

    def test_a_corrected_metric_begins_a_study_again_that_trained_nothing(
        self, tmp_path: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        out, space = tmp_path / "study", tmp_path / "space.yaml"
        (tmp_path / "own.py").write_text("def f(config):\n    return {'accuracy': config['x']}\n")
        space.write_text("x: {float: [0, 1]}\n")
        keys = {"task": f"{tmp_path}/own.py:f", "mode": "max"}
        TASKS.trust(keys["task"])
        begun, domains = {**keys, "metric": "precision"}, {"x": Float(0, 1)}
        task = declare_task(keys["task"], space=domains, config=begun)
        plan = Plan(build_config(begun, declaration=task), domains, trials=2)
        store = StudyStore(out)
        store.append("study", data="yesno", corpus={}, slots=1, **plan.as_dict())
        store.append("asked", trial=0, point={"x": 0.5})
        store.append("started", trial=0, attempt=1)
        before = (out / STORE).read_text()
        words = (
            f"tune --task {keys['task']} --space {space} --metric accuracy --mode max --trials 2"
        )
        # It fails at once, for want of a cluster.
        assert cli.main([*words.split(), "--out", str(out), "--address", "127.0.0.1:1"]) == 2
        begins, *_, ends = capfd.readouterr().err.splitlines()
        assert 'metric: "precision", now "accuracy"' in begins
        assert "127.0.0.1:1" in ends
        assert not (out / STORE).exists()
        assert (out / f"{STORE}.untrained").read_text() == before

    def test_a_study_that_was_extended_continues_with_either_number_of_trials(
        self, finished: Path
    ) -> None:
        StudyStore(finished).append("resumed", trials=5, slots=1)
        study = load(finished)
        for trials, differs in ((2, False), (5, False), (4, True)):
            plan = Plan.from_study(study)
            asked: Any = Plan(**{**vars(plan), "trials": trials})
            found = list(compare_plans(asked, study, "yesno"))
            assert bool(found) == differs, found

    def test_what_needs_resume_is_refused_whether_or_not_there_is_a_study(
        self, finished: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        for out in (finished, finished.parent / "new"):
            assert cli.main(command(out, "--add-trials", "3")) == 2
            assert "--resume" in read_error(capsys)

    def test_stop_conditions_of_a_file_may_change_as_those_of_flags(
        self, unfinished: Path, tmp_path: Path
    ) -> None:
        (tmp_path / "study.yaml").write_text("time_budget: 60\nmax_failures: 3\n")
        words = command(unfinished, "--config", str(tmp_path / "study.yaml"), "--max-failures", "1")
        options = cli.build_parser().parse_args(words)
        plan, _, is_finished = plan_study(
            read_settings(options), options, OutputFolder.of(unfinished)
        )
        assert not is_finished
        assert plan.stop == StopConditions(time_budget=60, patience=9, max_failures=1)

    @pytest.mark.parametrize("words", [("--add-trials", "4"), ("--retry", "failed"), ()])
    def test_conditions_are_kept_however_a_study_is_resumed(
        self, words: tuple[str, ...], unfinished: Path
    ) -> None:
        options = cli.build_parser().parse_args(
            ["tune", "--resume", str(unfinished), "--max-failures", "1", *words]
        )
        plan, *_ = plan_study(read_settings(options), options, OutputFolder.of(unfinished))
        assert plan.stop == StopConditions(patience=9, max_failures=1)

    @pytest.mark.parametrize("flags", [("--repeats", "3"), ("--ordered",), ("--trials", "9")])
    def test_no_flag_is_ignored_on_resume(
        self, flags: tuple[str, ...], unfinished: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert cli.main(["tune", "--resume", str(unfinished), *flags]) == 2
        assert flags[0] in read_error(capsys)

    def test_a_resumed_study_may_get_a_final_round(self, unfinished: Path) -> None:
        words = ["tune", "--resume", str(unfinished), "--final-round", "1:2"]
        options = cli.build_parser().parse_args(words)
        plan, *_ = plan_study(read_settings(options), options, OutputFolder.of(unfinished))
        assert plan.num_final == 2
        StudyStore(unfinished).append("searched")
        with pytest.raises(InputError, match=r"--final-round.*--add-trials"):
            plan_study(read_settings(options), options, OutputFolder.of(unfinished))

    def test_what_a_resumption_changed_stays_changed(self, unfinished: Path) -> None:
        path = unfinished / STORE
        point = {"learning_rate": 1e-6}
        path.write_text(
            path.read_text().replace('"points": []', f'"points": [{json.dumps(point)}]')
        )
        begun = Plan.from_study(load(unfinished))
        assert begun.points == [point]
        wider = {"learning_rate": Float(1e-8, 1e-5, log=True)}
        StudyStore(unfinished).append("resumed", space=format_space(wider), trials=5, slots=1)
        for trials, more in ((2, 0), (5, 0), (7, 2)):
            found = continue_study(
                replace(begun, trials=trials, final_round={"points": 1, "seeds": 2}),
                unfinished,
                None,
                storage="here",
                advice="",
                extends=True,
                note=print,
            )
            assert found
            assert (found.plan.space, found.plan.trials, found.add_trials) == (wider, 5, more)
            assert found.plan.num_final == 2
            assert not found.is_finished

    def test_more_trials_are_a_total(self, finished: Path) -> None:
        """A search that ended early gets them once, also if the call is repeated."""
        plan = replace(Plan.from_study(load(finished)), trials=8)
        StudyStore(finished).append("resumed", trials=5, slots=1)
        StudyStore(finished).append("searched", reason="patience")
        options: dict[str, Any] = {"storage": "here", "advice": "", "note": print}
        found = continue_study(plan, finished, None, extends=True, **options)
        assert found
        extended = found.plan.extend(found.study, found.add_trials)
        assert extended.num_trials == 8
        StudyStore(finished).append("resumed", trials=8, slots=1)
        StudyStore(finished).append("searched", reason="patience")
        again = continue_study(plan, finished, None, extends=True, **options)
        assert again
        assert again.add_trials == 0

    @pytest.mark.parametrize("drops", [False, True])
    def test_a_search_that_has_ended_gets_another_final_round_only_with_more_trials(
        self, drops: bool, finished: Path
    ) -> None:
        begun = Plan.from_study(load(finished))
        asked: dict[str, int] = {"points": 1, "seeds": 2}
        if drops:
            StudyStore(finished).append("resumed", slots=1, trials=2, final_round=asked)
            StudyStore(finished).append("searched")
            asked = {}
        options: dict[str, Any] = {"storage": "here", "advice": "", "note": print}
        plan = replace(begun, final_round=asked)
        if drops:  # as it was begun: the call is repeated
            repeated = continue_study(plan, finished, None, extends=True, **options)
            assert repeated
            assert repeated.plan.final_round
        else:
            with pytest.raises(InputError, match=r"here.*final_round"):
                continue_study(plan, finished, None, extends=True, **options)
        plan = replace(begun, trials=3, final_round=asked)
        found = continue_study(plan, finished, None, extends=True, **options)
        assert found
        assert not found.is_finished
        # What the extension changes is recorded, also that there is no final round any more.
        store, plan = StudyStore(finished), found.plan.extend(found.study, found.add_trials)
        resume_trials(found.study, plan, store, 1, None, print, retry=(), extend=())
        assert Plan.from_study(load(finished)).final_round == asked

    def test_fresh_keeps_the_earlier_study(
        self, finished: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        before = (finished / STORE).read_bytes()
        assert cli.main(command(finished, "--fresh", "--set", "dropout=7")) == 2
        assert cli.main(command(finished, "--fresh", "--keep-checkpoints", "-1")) == 2
        assert cli.main(command(finished, "--fresh", "--add-trials", "2")) == 2
        assert (finished / STORE).read_bytes() == before
        # The new study fails at once, for want of a cluster.
        assert cli.main(command(finished, "--fresh", "--address", "127.0.0.1:1")) == 2
        assert (finished.parent / "study-1" / STORE).read_bytes() == before
        assert not (finished / STORE).exists()
