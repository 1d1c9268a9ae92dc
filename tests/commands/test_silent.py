"""What a command was asked for and cannot do is said, and nothing else is done in its place."""

import os
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import soundfile
import torch
from helpers.commands import Ended

from raytune_yesno.checkpoint import load_checkpoint
from raytune_yesno.cli import build_parser
from raytune_yesno.commands.settings import build_plan, read_settings, resume_command
from raytune_yesno.config import build_config
from raytune_yesno.errors import InputError, escape_controls, one_line, quote, to_utf8
from raytune_yesno.space import Choice, Float
from raytune_yesno.study import load
from raytune_yesno.study.store import StudyStore
from raytune_yesno.tasks.speech.load import load_corpus
from raytune_yesno.tasks.speech.synthetic import synthesize
from raytune_yesno.tasks.task import check_same_data
from raytune_yesno.training.loop import fit
from raytune_yesno.tuning.plan import Plan
from raytune_yesno.tuning.plan_checks import check_all_points, check_plan

SMALL = ("--data", "synthetic:10", "--set", "channels=4,8", "--set", "hidden_units=16")
QUICK = ("--conditions", "none", "--wordless", "0")
NOT_UTF8 = os.fsdecode(b"stu\xffdy")


def plan_of(*arguments: str) -> Plan:
    options = build_parser().parse_args(["tune", *arguments])
    return build_plan(read_settings(options), options)


class TestEvaluate:
    """The corpus is the checkpoint's own, unless another is asked for."""

    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        folder = tmp_path / "own"
        folder.mkdir()
        corpus = synthesize(12, 3)
        for number, name in enumerate(corpus.names):
            soundfile.write(folder / f"{name}.wav", corpus.waveform(number), corpus.sample_rate)
        return folder

    def checkpoint(self, data: str, folder: Path) -> str:
        config = build_config({"channels": (4,), "hidden_units": 8, "epochs": 1})
        next(fit(config, load_corpus(data))).save(folder)
        return str(folder)

    @pytest.mark.parametrize("data", ["synthetic:10", "synthetic:12:5"])
    def test_synthetic(self, data: str, tmp_path: Path, run: Callable[..., Ended]) -> None:
        ended = run("evaluate", *QUICK, self.checkpoint(data, tmp_path / "c"), "--json")
        assert ended.code == 0
        assert ended.json["corpus"]["fingerprint"] == load_corpus(data).fingerprint
        assert ended.json["trained_on"].items() >= ended.json["corpus"].items()
        assert "warning" not in ended.err
        assert "synthetic" in ended.err

    def test_a_folder(self, folder: Path, tmp_path: Path, run: Callable[..., Ended]) -> None:
        ended = run("evaluate", *QUICK, self.checkpoint(str(folder), tmp_path / "c"))
        assert ended.code == 0
        assert str(folder) in ended.out

    def test_yesno_that_lies_elsewhere(
        self,
        folder: Path,
        tmp_path: Path,
        run: Callable[..., Ended],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        (tmp_path / "old").mkdir()
        (tmp_path / "old" / "waves_yesno").symlink_to(folder)
        corpus = load_corpus(str(folder))
        object.__setattr__(corpus, "source", str(tmp_path / "gone" / "waves_yesno"))
        config = build_config({"channels": (4,), "hidden_units": 8, "epochs": 1})
        next(fit(config, corpus)).save(tmp_path / "c")
        monkeypatch.setenv("YESNO_ROOT", str(tmp_path / "old"))
        ended = run("evaluate", *QUICK, str(tmp_path / "c"), "--json")
        assert ended.json["corpus"]["fingerprint"] == corpus.fingerprint
        monkeypatch.setenv("YESNO_ROOT", str(tmp_path))
        ended = run("evaluate", *QUICK, str(tmp_path / "c"), "--json")
        assert ended.code == 2
        assert "--data" in ended.err
        assert corpus.fingerprint in ended.err

    def test_one_that_has_changed_is_named_so(
        self, folder: Path, tmp_path: Path, run: Callable[..., Ended]
    ) -> None:
        checkpoint = self.checkpoint(str(folder), tmp_path / "run" / "last")
        before = load_corpus(str(folder))
        next(folder.glob("*.wav")).unlink()
        after = load_corpus(str(folder))
        for command in (("evaluate", checkpoint, *QUICK), ("predict", checkpoint, "--sample")):
            ended = run(*command)
            assert ended.code == 0, ended.err
            (warning,) = [line for line in ended.err.splitlines() if "warning" in line]
            assert before.fingerprint in warning
            assert f"changed ({after.fingerprint})" in warning
        trained_on = load_checkpoint(Path(checkpoint)).corpus
        with pytest.raises(InputError, match=r"has changed .* restore it"):
            check_same_data(after, trained_on, "this run")

    def test_another_one_is_used_with_a_warning(
        self, tmp_path: Path, run: Callable[..., Ended]
    ) -> None:
        checkpoint = self.checkpoint("synthetic:10", tmp_path / "c")
        ended = run("evaluate", *QUICK, checkpoint, "--data", "synthetic:12", "--json")
        assert ended.code == 0
        assert ended.json["corpus"]["fingerprint"] == load_corpus("synthetic:12").fingerprint
        (warning,) = [line for line in ended.err.splitlines() if "warning" in line]
        assert load_corpus("synthetic:10").fingerprint in warning
        assert load_corpus("synthetic:12").fingerprint in warning


class TestTrain:
    @pytest.mark.skipif(torch.accelerator.is_available(), reason="there is a GPU here")
    def test_a_gpu_that_is_not_there(self, tmp_path: Path, run: Callable[..., Ended]) -> None:
        out = tmp_path / "run"
        ended = run("train", *SMALL, "--use-gpu", "--num-workers", "0", "--out", str(out))
        assert ended.code == 2
        assert "GPU" in ended.err
        assert not out.exists()

    def test_fewer_epochs_than_were_trained(
        self, tmp_path: Path, run: Callable[..., Ended]
    ) -> None:
        out = str(tmp_path / "run")
        here = ("train", *SMALL, "--num-workers", "0", "--json")
        assert run(*here, "--epochs", "3", "--out", out).code == 0
        before = {file: file.read_bytes() for file in Path(out).rglob("*") if file.is_file()}
        ended = run("train", "--num-workers", "0", "--resume", out, "--epochs", "2")
        assert ended.code == 2
        assert "3 epochs" in ended.err
        assert {f: f.read_bytes() for f in Path(out).rglob("*") if f.is_file()} == before
        again = run("train", "--num-workers", "0", "--resume", out, "--epochs", "4", "--json")
        assert (again.code, len(again.json["history"])) == (0, 4)


class TestPlan:
    POINTS = ("--point", "dropout=0.1", "--point", "dropout=0.2", "--point", "dropout=0.3")

    def test_manual_points_are_trained_to_their_end(self) -> None:
        assert plan_of(*self.POINTS).scheduler == "fifo"
        assert plan_of(*self.POINTS, "--scheduler", "median").scheduler == "median"
        assert plan_of("--search", "tpe").scheduler == "asha"
        assert Plan(build_config({}), {"dropout": Float(0, 1)}).scheduler == "asha"

    def test_a_study_keeps_its_scheduler(self, tmp_path: Path) -> None:
        space = {"dropout": Choice(0.1, 0.2)}
        points = {"points": [{"dropout": 0.1}]}
        plan = Plan(
            build_config({}), space, search="manual", search_options=points, scheduler="asha"
        )
        StudyStore(tmp_path).append("study", data="", corpus={}, slots=1, **plan.as_dict())
        assert Plan.from_study(load(tmp_path)).scheduler == "asha"

    @pytest.mark.parametrize("trials", [1, 2])
    def test_points_are_not_left_out(self, trials: int, run: Callable[..., Ended]) -> None:
        ended = run("tune", *SMALL, *self.POINTS, "--trials", str(trials))
        assert ended.code == 2
        assert "manual" in ended.err
        assert " 3 " in ended.err

    def test_a_grid_is_not_cut_to_a_corner(
        self, tmp_path: Path, run: Callable[..., Ended], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        file = tmp_path / "space.yaml"
        file.write_text("dropout: {float: [0, 0.5]}\nbatch_size: {choice: [1, 2, 4]}\n")
        grid = ("--search", "grid", "--space", str(file))
        ended = run("tune", *SMALL, *grid, "--trials", "4")
        assert ended.code == 2
        assert " 15 " in ended.err
        assert not Path("studies").exists()
        for trials in (15, 100):
            plan = plan_of(*grid, "--trials", str(trials))
            check_all_points(plan)
            assert plan.num_trials == 15

    def test_a_study_of_a_part_of_a_grid_is_resumed(self) -> None:
        plan = Plan(build_config({}), {"batch_size": Choice(1, 2, 4)}, search="grid", trials=2)
        check_plan(plan)
        with pytest.raises(InputError, match="3 points"):
            check_all_points(plan)


class TestDoctor:
    DATA = ("--data", "synthetic:10", "--json")

    def storage(self, ended: Ended) -> str:
        (status,) = [c["status"] for c in ended.json["checks"] if c["name"] == "storage"]
        return status

    @pytest.fixture(autouse=True)
    def no_cluster(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("RAY_ADDRESS", raising=False)

    def test_looks_at_a_folder_without_a_cluster(
        self, tmp_path: Path, run: Callable[..., Ended]
    ) -> None:
        ended = run("doctor", "--out", str(tmp_path / "new"), *self.DATA)
        assert self.storage(ended) == "ok"
        assert list(tmp_path.iterdir()) == []

    def test_looks_at_a_new_folder_given_as_a_uri(
        self, tmp_path: Path, run: Callable[..., Ended]
    ) -> None:
        ended = run("doctor", "--out", (tmp_path / "new/deep").as_uri(), *self.DATA)
        assert self.storage(ended) == "ok"
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize(
        "out",
        [
            "nonsense://bucket/studies",
            "file:///proc/studies",
            "/proc/studies",
            "/dev/null",
            "/dev/null/studies",
            "file:///dev/null/studies",
        ],
    )
    def test_says_what_cannot_be_written(self, out: str, run: Callable[..., Ended]) -> None:
        ended = run("doctor", "--out", out, *self.DATA)
        assert ended.code == 1
        assert not ended.json["ok"]
        assert self.storage(ended) == "problem"


class TestOddNames:
    NAMES = (
        NOT_UTF8,
        "it's",
        "a b",
        "a\nb",
        "\x1b[31mred",
        "$(touch x)",
        "\u202eabc",
        "back\\slash",
    )

    @pytest.mark.parametrize("name", NAMES)
    def test_a_command_can_be_pasted(self, name: str, tmp_path: Path) -> None:
        folder = tmp_path / name
        folder.mkdir()
        (folder / "settings.yaml").write_text("")
        command = resume_command("train", folder / "settings.yaml")
        assert command.isprintable()
        script = f"raytune-yesno() {{ printf '%s\\0' \"$@\"; }}; {command}"
        said = subprocess.run(["bash", "-c", script], capture_output=True, check=True, cwd=tmp_path)
        assert said.stdout.split(b"\0")[:-1] == [b"train", b"--resume", os.fsencode(folder)]

    def test_a_plain_word_is_quoted_as_ever(self) -> None:
        for word in ("plain", "it's", "a b", "é"):
            assert quote(word) == shlex.quote(word)

    @pytest.mark.parametrize("name", NAMES)
    def test_new_files_are_named_in_one_line(
        self, name: str, tmp_path: Path, run: Callable[..., Ended]
    ) -> None:
        file, folder = tmp_path / f"{name}.yaml", tmp_path / name
        for words in (("init", str(file)), ("corpus", "synthesize", str(folder))):
            ended = run(*words)
            assert ended.code == 0
            first, *others = ended.out.splitlines()
            assert one_line(name) in first
            assert all(line.isprintable() for line in (first, *others, *ended.err.splitlines()))
            assert [line.strip().split()[0] for line in others] in (
                [],
                ["next:", "raytune-yesno", "raytune-yesno"],
            )

    def test_halves_of_pairs_are_escaped(self) -> None:
        assert escape_controls("a\udcffb") == "a\\xffb"
        assert to_utf8("a\udcffb\ud800\U0001d11e") == "a\\xffb\\ud800\U0001d11e"
        assert one_line("a\udcff\n") == "a\\xff\\n"

    @pytest.mark.parametrize("name", NAMES)
    def test_report_reads_and_writes(
        self, name: str, tmp_path: Path, run: Callable[..., Ended]
    ) -> None:
        for folder in (tmp_path / name, tmp_path / "other"):
            write_study(folder)
        study = str(tmp_path / name)
        exports = [str(tmp_path / f"{name}.{kind}") for kind in ("csv", "json", "md", "parquet")]
        flags = [word for file in exports for word in ("--export", file)]
        for studies in ((study,), (study, str(tmp_path / "other"))):
            ended = run("report", *studies, *flags, "--out", str(tmp_path / f"out-{name}"))
            assert ended.code == 0, ended.err
            assert all(line.isprintable() for line in (ended.out + ended.err).splitlines())
            assert len([line for line in ended.out.splitlines() if "report.html" in line]) == 1
            for file in exports:
                assert Path(file).is_file()
        ended = run("report", study, "--json")
        assert ended.json["html"].encode()
        assert (tmp_path / name / "report.html").read_bytes().decode()
        assert (tmp_path / name / "trials.csv").read_bytes().decode()

    @pytest.mark.parametrize(
        "words",
        [
            ("tune", "--trials", "1", "--out"),
            ("train", "--num-workers", "1", "--out"),
            ("tune", "--resume"),
        ],
    )
    def test_a_name_that_ray_cannot_have_is_named(
        self, words: tuple[str, ...], tmp_path: Path, run: Callable[..., Ended]
    ) -> None:
        data = SMALL if "--out" in words else ()
        ended = run(*words, str(tmp_path / NOT_UTF8), *data)
        assert ended.code == 2
        (line,) = ended.err.splitlines()
        assert "stu\\xffdy" in line
        assert "UTF-8" in line

    def test_train_without_ray_takes_it(self, tmp_path: Path, run: Callable[..., Ended]) -> None:
        out = str(tmp_path / NOT_UTF8)
        ended = run("train", *SMALL, "--epochs", "1", "--num-workers", "0", "--out", out, "--json")
        assert ended.code == 0
        assert ended.json["checkpoint"].endswith("stu\\xffdy/best")
        assert run("evaluate", *QUICK, f"{out}/best").code == 0


def write_study(folder: Path) -> None:
    plan = Plan(build_config({"epochs": 1}), {"dropout": Float(0, 0.5)}, trials=2)
    store = StudyStore(folder)
    store.append("study", data="synthetic:10", corpus={}, slots=1, **plan.as_dict())
    for trial in range(2):
        store.append("asked", trial=trial, point={"dropout": 0.1 + trial / 10})
        store.append("started", trial=trial, attempt=1)
        store.append(
            "epoch", trial=trial, attempt=1, epoch=1, train_loss=1.0, valid_loss=1.0 + trial,
            valid_wer=0.5, seconds=0.1, began=1.0, ended=2.0, host="h", pid=1, device="cpu",
            diverged=False,
        )  # fmt: skip
        store.append("ended", trial=trial, status="done")
    store.append("searched")
