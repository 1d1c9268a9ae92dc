"""The command line: in this process where that is possible, else as a shell starts it."""

import contextlib
import io
import json
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import soundfile
import torch
from helpers.commands import PROGRESS, Ended, finish, start

from raytune_yesno.checkpoint import load_checkpoint
from raytune_yesno.config import build_config
from raytune_yesno.errors import InputError
from raytune_yesno.space import Choice
from raytune_yesno.study import Study, load
from raytune_yesno.study.store import StudyStore, read_events
from raytune_yesno.tasks.speech.evaluation import evaluate
from raytune_yesno.tasks.speech.recognizer import Recognizer, select_part
from raytune_yesno.tasks.speech.synthetic import synthesize
from raytune_yesno.training.loop import fit
from raytune_yesno.tuning.plan import Plan
from raytune_yesno.tuning.refit import best_config

SMALL = ("--data", "synthetic:10", "--set", "channels=4,8", "--set", "hidden_units=16")


def await_state(process: subprocess.Popen[str], reached: Callable[[], bool]) -> None:
    """Return when a state is reached that a running command is to reach."""
    while not reached():
        assert process.poll() is None, "the command ended too early"
        time.sleep(0.02)


def resume_arguments(ended: Ended) -> list[str]:
    """Return the arguments of the resume command that a stopped command printed."""
    (line,) = [line for line in ended.err.splitlines() if "resume with: " in line]
    name, *arguments = shlex.split(line.split("resume with: ")[1])
    assert name == "raytune-yesno"
    return arguments


# Bad input -----------------------------------------------------------------------------------

TRAIN = ("train", "--data", "synthetic:10", "--num-workers", "0")
TUNE = ("tune", "--data", "synthetic:10")
# The command line, and what its one line of error says. Files are those of `wrong_files`.
BAD: list[tuple[tuple[str, ...], str]] = [
    ((), "COMMAND"),
    (("tran",), "'tran'"),
    (("corpus",), "ACTION"),
    (("train", "--frob"), "--frob"),
    (("train", "--epochs", "many"), "--epochs"),
    (("evaluate", "x", "--split", "dev"), "'dev'"),
    (("predict", "x"), "--sample"),
    (("predict", "x", "y.wav", "--sample"), "--sample"),
    ((*TRAIN, "--epochs", "0"), "epochs: 0 is out of range"),
    ((*TRAIN, "--num-workers", "4:1"), "num_workers: '4:1'"),
    ((*TRAIN, "--num-workers", "0:2"), "num_workers: '0:2'"),
    ((*TRAIN, "--num-workers", "1:"), "num_workers takes a whole number or a range LOW:HIGH"),
    ((*TRAIN, "--set", "epochs=1:30"), "epochs takes a whole number, not '1:30'"),
    ((*TRAIN, "--seed", "-1"), "seed: -1 is out of range"),
    ((*TRAIN, "--set", "learning_rat=1"), "did you mean 'learning_rate'?"),
    ((*TRAIN, "--set", "learning_rate=-1"), "learning_rate: -1.0 is out of range"),
    ((*TRAIN, "--set", "learning_rate=nan"), "learning_rate"),
    ((*TRAIN, "--set", "learning_rate"), "expected key=value"),
    ((*TRAIN, "--set", "optimizer=adm"), "did you mean 'adam'?"),
    ((*TRAIN, "--set", "channels=a"), "whole numbers"),
    ((*TRAIN, "--set", "channels=1,1,1,1", "--set", "kernel_size=9"), "kernel_size"),
    ((*TRAIN, "--set", "task=sine", "--set", "model=cnn"), "model: 'cnn'"),
    ((*TRAIN, "--config", "none.yaml"), "none.yaml: cannot be read"),
    ((*TRAIN, "--config", "full"), "full: cannot be read"),
    ((*TRAIN, "--config", "binary"), "not a text file"),
    ((*TRAIN, "--config", "broken.yaml"), "not YAML"),
    ((*TRAIN, "--config", "list.yaml"), "expected a mapping"),
    ((*TRAIN, "--config", "setting.yaml"), "did you mean 'search'?"),
    ((*TRAIN, "--config", "key.yaml"), "did you mean 'learning_rate'?"),
    ((*TRAIN, "--config", "key_above.yaml"), "config: {task: "),
    ((*TRAIN, "--config", "task_kind.yaml"), "task_kind.yaml: config: task takes text, not True"),
    ((*TRAIN, "--config", "task_false.yaml"), "task takes text, not False"),
    ((*TUNE, "--config", "task_list.yaml"), "task takes text, not ['sine']"),
    ((*TRAIN, "--config", "kinds.yaml"), "trials takes a whole number, not 'many'"),
    ((*TRAIN, "--config", "data.yaml"), "data takes text, not 5"),
    ((*TRAIN, "--out", "full"), "full: it exists and is not empty"),
    ((*TRAIN, "--out", "file"), "file: it is a file"),
    ((*TRAIN, "--out", "file/below"), "not a writable folder"),
    ((*TRAIN, "--resume", "none"), "none: no run here"),
    ((*TRAIN, "--resume", "damaged"), "it lacks `data` or `config`"),
    ((*TRAIN, "--resume", "begun", "--out", "x"), "--out: --resume"),
    ((*TRAIN, "--resume", "begun", "--set", "dropout=0.5"), "dropout: a resumed run keeps"),
    (("train", "--data", "none"), "'none' is not a folder"),
    (("train", "--data", "synthetic:x"), "write synthetic, synthetic:N or synthetic:N:SEED"),
    (("train", "--data", "synthetic:2"), "too few"),
    (("train", "--data", "synthetic:10", "--num-cpus", "-1"), "num_cpus: -1"),
    (("train", "--data", "synthetic:10", "--address", "none"), "address none"),
    ((*TUNE, "--search", "tpee"), "did you mean 'tpe'?"),
    ((*TUNE, "--scheduler", "ash"), "did you mean 'asha'?"),
    ((*TUNE, "--trials", "0"), "trials: 0 is out of range"),
    ((*TUNE, "--max-concurrent", "0"), "max_concurrent: 0"),
    ((*TUNE, "--workers-per-trial", "0"), "at least 1 worker"),
    ((*TUNE, "--workers-per-trial", "1:4"), "--workers-per-trial"),
    ((*TUNE, "--set", "num_workers=1:4"), "num_workers: 1:4 is a range"),
    ((*TUNE, "--config", "elastic.yaml"), "num_workers: 1:4 is a range"),
    ((*TUNE, "--config", "two_workers.yaml"), "num_workers: two values"),
    ((*TUNE, "--set", "num_workers=two"), "num_workers takes a whole number"),
    ((*TUNE, "--search", "manual"), "points"),
    ((*TUNE, "--config", "points.yaml"), "point 0"),
    ((*TUNE, "--config", "option.yaml"), "did you mean 'num_initial'?"),
    ((*TUNE, "--config", "option_kind.yaml"), "num_initial"),
    ((*TUNE, "--config", "points_kind.yaml"), "points takes a list"),
    ((*TUNE, "--config", "point_kind.yaml"), "point 0: expected a mapping"),
    ((*TUNE, "--config", "taken.yaml"), "'seed' is not an option"),
    ((*TUNE, "--config", "grace.yaml"), "grace_period"),
    ((*TUNE, "--config", "grace_kind.yaml"), "grace_period"),
    ((*TUNE, "--space", "none.yaml"), "none.yaml: cannot be read"),
    ((*TUNE, "--space", "empty.yaml"), "the search space is empty"),
    ((*TUNE, "--space", "space_key.yaml"), "did you mean 'learning_rate'?"),
    ((*TUNE, "--space", "space_range.yaml"), "low is above high"),
    ((*TUNE, "--space", "space_kind.yaml"), "learning_rate"),
    ((*TUNE, "--space", "space_fixed.yaml"), "'epochs' is the same for all trials"),
    ((*TUNE, "--space", "space_value.yaml"), "kernel_size: 30 is out of range"),
    ((*TUNE, "--set", "model=cnn", "--space", "space_pair.yaml"), "kernel_size"),
    ((*TUNE, "--out", "full"), "full: it exists and is not empty"),
    ((*TUNE, "--set", "task=sine", "--skip-bad"), "--data: task sine reads no data"),
    (("train", "--set", "task=sine", "--skip-bad"), "--skip-bad: task sine reads no data"),
    (("tune", "--resume", "none"), "no study here"),
    (("tune", "--resume", "full"), "no study here"),
    (("tune", "--resume", "damaged"), "first line"),
    (("tune", "--resume", "headless"), "its first line lacks config"),
    (("tune", "--resume", "over"), "nothing to resume"),
    (("tune", "--resume", "over", "--trials", "9"), "--trials: --resume"),
    (("tune", "--resume", "over", "--set", "epochs=2"), "--set: --resume"),
    (("evaluate", "none", "--data", "synthetic:10"), "none: no checkpoint here"),
    (("evaluate", "wrong", "--data", "synthetic:10"), "the checkpoint is damaged"),
    (("evaluate", "sine", "--data", "synthetic:10"), "does not recognise speech"),
    (("evaluate", "trained", "--data", "none"), "'none' is not a folder"),
    (("predict", "trained", "none.wav"), "none.wav: cannot be read"),
    (("predict", "trained", "text.wav"), "text.wav: not a WAV file"),
    (("corpus", "show", "x"), "'x'"),
    (("corpus", "show", "--data", "synthetic:10", "10"), "0 to 9"),
    (("corpus", "show", "--data", "synthetic:10", "--picture", "none/x.png"), "none/x.png"),
    (("corpus", "synthesize", "new", "--recordings", "0"), "give 1 to 10000"),
    (("corpus", "synthesize", "file"), "file"),
    (("corpus", "fetch", "file"), "file"),
]
FILES = {
    "elastic.yaml": "config: {num_workers: 1:4}",
    "file": "a file",
    "full/file": "a file",
    "text.wav": "no sound",
    "broken.yaml": "a: [1\n",
    "list.yaml": "- 1\n",
    "setting.yaml": "serch: tpe\n",
    "two_workers.yaml": "workers_per_trial: 2\nconfig: {num_workers: 1}\n",
    "key.yaml": "config: {learning_rat: 1}\n",
    "key_above.yaml": "task: sine\n",
    "task_kind.yaml": "config: {task: true}\n",
    "task_false.yaml": "config: {task: false}\n",
    "task_list.yaml": "config: {task: [sine]}\n",
    "kinds.yaml": "trials: many\n",
    "data.yaml": "data: 5\n",
    "points.yaml": "search: manual\nsearch_options: {points: [{learning_rate: -1}]}\n",
    "option.yaml": "search: tpe\nsearch_options: {num_inital: 3}\n",
    "option_kind.yaml": "search: tpe\nsearch_options: {num_initial: many}\n",
    "points_kind.yaml": "search: manual\nsearch_options: {points: 5}\n",
    "point_kind.yaml": "search: manual\nsearch_options: {points: [5]}\n",
    "taken.yaml": "search_options: {seed: 3}\n",
    "grace.yaml": "scheduler: asha\nscheduler_options: {grace_period: 99}\n",
    "grace_kind.yaml": "scheduler: asha\nscheduler_options: {grace_period: long}\n",
    "empty.yaml": "{}\n",
    "space_key.yaml": "learning_rat: {float: [1.0e-4, 1.0e-2]}\n",
    "space_range.yaml": "learning_rate: {float: [1, 0.1]}\n",
    "space_kind.yaml": "learning_rate: [0.1, 1]\n",
    "space_fixed.yaml": "epochs: {int: [1, 3]}\n",
    "space_value.yaml": "kernel_size: {int: [3, 30]}\n",
    "space_pair.yaml": "kernel_size: {choice: [3, 9]}\nchannels: {choice: [[4], [4, 4, 4, 4]]}\n",
    "damaged/settings.yaml": "data: synthetic:10\n",
    "damaged/study.jsonl": "{}\n",
    "begun/settings.yaml": "data: synthetic:10\nconfig: {}\n",
    "headless/study.jsonl": '{"event": "study", "time": 1}\n',
    "wrong/checkpoint.json": "{}",
}


@pytest.fixture(scope="module")
def wrong_files(tmp_path_factory: pytest.TempPathFactory, checkpoint: Path) -> Path:
    """Return a folder of files that are wrong in many ways; no command changes it."""
    folder = tmp_path_factory.mktemp("wrong")
    for name, text in FILES.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    (folder / "binary").write_bytes(b"\xff\xfe\x00")
    (folder / "trained").symlink_to(checkpoint)
    sine = build_config({"task": "sine", "epochs": 1})
    next(fit(sine)).save(folder / "sine")
    plan = Plan(sine, {"learning_rate": Choice(1e-6)}, trials=1)
    over = StudyStore(folder / "over")
    over.append("study", data="", corpus={}, slots=1, **plan.as_dict())
    over.append("refitted", checkpoint="")
    return folder


@pytest.mark.parametrize(
    ("arguments", "says"), BAD, ids=[" ".join(arguments) for arguments, _ in BAD]
)
def test_bad_input_is_one_line_and_leaves_nothing(
    arguments: tuple[str, ...],
    says: str,
    wrong_files: Path,
    run: Callable[..., Ended],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(wrong_files)

    # A folder's own time changes when the lock in it comes and goes.
    def look() -> dict[Path, int | None]:
        paths = wrong_files.rglob("*")
        return {path: None if path.is_dir() else path.stat().st_mtime_ns for path in paths}

    before = look()
    ended = run(*arguments)
    assert ended.code == 2
    assert ended.out == ""
    # Beside the error, remarks about the corpus.
    remarks = ("training:", "few recordings")
    lines = [line for line in ended.err.splitlines() if not line.startswith(remarks)]
    (line,) = lines
    assert line.startswith("raytune-yesno: ")
    assert says in line
    assert look() == before


def test_all_that_is_wrong_with_a_corpus_is_listed(
    run: Callable[..., Ended], tmp_path: Path
) -> None:
    for name in ("hello.wav", "0_1.wav"):
        (tmp_path / name).write_text("no sound")
    ended = run("train", "--data", str(tmp_path), "--out", str(tmp_path / "new"))
    assert ended.code == 2
    first, *problems = ended.err.splitlines()
    assert first.startswith("raytune-yesno: ")
    assert [problem.split(":")[0].strip() for problem in problems[:2]] == ["0_1.wav", "hello.wav"]
    assert not (tmp_path / "new").exists()


def test_a_traceback_is_shown_where_it_is_asked_for(run: Callable[..., Ended]) -> None:
    with pytest.raises(InputError):
        run("evaluate", "none", "--debug")


# Help ----------------------------------------------------------------------------------------

COMMON = ("--json", "--debug")
CONFIGURED = ("--data", "--config", "--set", "--out", "--seed", "--address", "--epochs")
OPTIONS = {
    "": ("corpus", "train", "tune", "evaluate", "predict", "--version"),
    "corpus": ("fetch", "synthesize", "check", "show"),
    "corpus fetch": (*COMMON, "DIR"),
    "corpus synthesize": (*COMMON, "DIR", "--seed"),
    "corpus check": (*COMMON, "DIR", "--data"),
    "corpus show": (*COMMON, "DIR", "--data"),
    "train": (*COMMON, *CONFIGURED, "--num-workers", "--use-gpu", "--resume"),
    "tune": (
        *COMMON,
        *CONFIGURED,
        *("--search", "--scheduler", "--trials", "--workers-per-trial", "--max-concurrent"),
        *("--space", "--resume"),
    ),
    "evaluate": (*COMMON, "CHECKPOINT", "--data", "--split"),
    "predict": (*COMMON, "CHECKPOINT", "WAV"),
}


@pytest.mark.parametrize("command", OPTIONS)
def test_help_names_every_option_on_lines_that_fit(command: str, run: Callable[..., Ended]) -> None:
    ended = run(*command.split(), "--help")
    assert ended.code == 0
    for option in OPTIONS[command]:
        assert re.search(rf"(?<![\w-]){option}(?![\w-])", ended.out), option
    assert max(map(len, ended.out.splitlines())) <= 80


def test_the_config_keys_are_listed(run: Callable[..., Ended]) -> None:
    ended = run("train", "--help-config")
    assert ended.code == 0
    assert [line.split()[0] for line in ended.out.splitlines()] == list(build_config().as_dict())


def test_help_imports_none_of_the_large_libraries() -> None:
    script = (
        "import sys\nfrom raytune_yesno import cli\n"
        "try: cli.main(['--help'])\n"
        "except SystemExit: print(sorted({'torch', 'ray', 'numpy', 'pandas'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "[]"


# Training ------------------------------------------------------------------------------------


class TestTrain:
    def test_prints_for_people(self, run: Callable[..., Ended], tmp_path: Path) -> None:
        ended = run(*TRAIN, *SMALL, "--epochs", "2", "--out", str(tmp_path / "new"))
        assert ended.code == 0
        best, checkpoint, following, *uses = ended.out.splitlines()
        assert best.startswith("best epoch ")
        assert checkpoint == f"checkpoint: {tmp_path / 'new' / 'best'}"
        assert following == "next:"
        assert all(str(tmp_path / "new" / "best") in use for use in uses)
        assert any(map(PROGRESS.match, re.split(r"[\r\n]+", ended.err)))

    def test_ends_with_json(self, run: Callable[..., Ended], tmp_path: Path) -> None:
        arguments = (*SMALL, "--epochs", "2", "--num-workers", "0", "--out", str(tmp_path / "new"))
        ended = run("train", *arguments, "--seed", "3", "--json")
        assert ended.code == 0
        assert ended.json["checkpoint"] == str(tmp_path / "new" / "best")
        assert ended.json["workers"] == 0
        assert ended.json["seconds"] > 0
        history = ended.json["history"]
        assert history == load_checkpoint(tmp_path / "new" / "last").history
        for metrics in history:
            assert {"epoch", "train_loss", "valid_loss", "valid_wer"} <= metrics.keys()
        assert ended.json["metrics"] == min(history, key=lambda metrics: metrics["valid_loss"])
        config = load_checkpoint(tmp_path / "new" / "last").config
        assert (config.seed, config.epochs, config.channels) == (3, 2, (4, 8))

    def test_flags_and_assignments_win_over_the_file(
        self, run: Callable[..., Ended], tmp_path: Path
    ) -> None:
        file = tmp_path / "settings.yaml"
        keys = {"channels": [4, 8], "hidden_units": 16, "epochs": 3, "batch_size": 8, "dropout": 0}
        file.write_text(json.dumps({"data": "synthetic:10", "seed": 5, "config": keys}))
        assignments = ("--set", "batch_size=4")
        arguments = ("--config", str(file), *assignments, "--epochs", "1", "--num-workers", "0")
        ended = run("train", *arguments, "--out", str(tmp_path / "new"))
        assert ended.code == 0
        config = load_checkpoint(tmp_path / "new" / "last").config
        assert (config.epochs, config.batch_size, config.dropout, config.seed) == (1, 4, 0.0, 5)

    def test_of_the_sine_prints_the_polynomial(
        self, run: Callable[..., Ended], tmp_path: Path
    ) -> None:
        out = tmp_path / "new"
        ended = run("train", "--set", "task=sine", "--num-workers", "0", "--out", str(out))
        assert ended.code == 0
        number = r"(-?\d\S*)"
        pattern = rf"Result: y = {number} \+ {number} x \+ {number} x\^2 \+ {number} x\^3"
        found = re.fullmatch(pattern, ended.out.splitlines()[-1])
        assert found
        weights = load_checkpoint(out / "last").state_dict
        assert [float(text) for text in found.groups()] == [
            weights["0.bias"].item(),
            *weights["0.weight"][0].tolist(),
        ]

    def test_that_diverges_has_failed(self, run: Callable[..., Ended], tmp_path: Path) -> None:
        wild = ("--set", "optimizer=sgd", "--set", "learning_rate=1e30", "--set", "warmup=0")
        ended = run(*TRAIN, *SMALL, *wild, "--out", str(tmp_path / "new"))
        assert ended.code == 1
        assert ended.out == ""
        assert "not finite" in ended.err.splitlines()[-1]

    @pytest.mark.long
    def test_interrupted_says_how_to_resume_and_ends_in_the_same_bits(
        self, run: Callable[..., Ended], tmp_path: Path
    ) -> None:
        options = ("train", *SMALL, "--num-workers", "0", "--epochs", "60")
        cut, log = tmp_path / "cut off", tmp_path / "log"
        process = start(*options, "--out", str(cut), log=log)
        history = cut / "history.jsonl"
        await_state(process, lambda: history.exists() and history.read_text().count("\n") > 1)
        process.send_signal(signal.SIGINT)
        ended = finish(process, log)
        assert ended.code == 130
        assert ended.out == ""
        assert load_checkpoint(cut / "last").epoch < 60

        assert run(*resume_arguments(ended)).code == 0
        assert run(*options, "--out", str(tmp_path / "whole")).code == 0
        one, other = (load_checkpoint(folder / "last") for folder in (cut, tmp_path / "whole"))
        assert one.epoch == other.epoch == 60
        torch.testing.assert_close(one.state_dict, other.state_dict, rtol=0, atol=0)

    @pytest.mark.long
    def test_interrupted_by_both_signals_ends_without_a_traceback(self, tmp_path: Path) -> None:
        cut, log = tmp_path / "cut off", tmp_path / "log"
        options = ("train", *SMALL, "--num-workers", "0", "--epochs", "5000")
        process = start(*options, "--out", str(cut), log=log)
        history = cut / "history.jsonl"
        await_state(process, lambda: history.exists() and bool(history.read_text()))
        process.send_signal(signal.SIGTERM)
        while catches(process.pid, signal.SIGTERM):
            time.sleep(0.001)
        process.send_signal(signal.SIGINT)
        ended = finish(process, log)
        assert ended.code in (143, -signal.SIGINT)
        assert "Traceback" not in ended.err
        assert load_checkpoint(cut / "last").epoch < 5000

    @pytest.mark.ray
    @pytest.mark.slow  # test_session runs the command on a cluster, test_train runs two workers
    def test_on_a_cluster(self, ray_cluster: str, tmp_path: Path) -> None:
        log, out = tmp_path / "log", tmp_path / "new"
        cluster = ("--num-workers", "2", "--address", ray_cluster)
        options = (*cluster, "--epochs", "2", "--out", str(out))
        ended = finish(start("train", *SMALL, *options, "--json", log=log), log)
        assert ended.code == 0
        assert ended.json["workers"] == 2
        assert [metrics["epoch"] for metrics in ended.json["history"]] == [1, 2]
        assert {path.name for path in out.iterdir()} == {
            *("best", "last", "history.jsonl", "settings.yaml")
        }


# Using a checkpoint --------------------------------------------------------------------------


class TestEvaluate:
    @pytest.mark.parametrize(("split", "words"), [(None, 40), ("valid", 8), ("all", 80)])
    def test_counts_the_words_of_a_part(
        self, split: str | None, words: int, checkpoint: Path, run: Callable[..., Ended]
    ) -> None:
        part = ("--split", split) if split else ()
        ended = run(
            "evaluate",
            str(checkpoint),
            "--data",
            "synthetic:10",
            *part,
            "--conditions",
            "none",
            "--wordless",
            "0",
            "--json",
        )
        assert ended.code == 0
        result = ended.json
        expected = evaluate(Recognizer.load(checkpoint), synthesize(10), split or "test")
        assert {key: result[key] for key in expected} == expected
        assert result["words"] == words
        wrong = result["substitutions"] + result["insertions"] + result["deletions"]
        assert result["wer"] == wrong / words
        assert result["split"] == (split or "test")

    def test_prints_for_people(self, checkpoint: Path, run: Callable[..., Ended]) -> None:
        few = ("--conditions", "hum", "--wordless", "1")
        ended = run("evaluate", str(checkpoint), "--data", "synthetic:10", *few)
        assert ended.code == 0
        assert re.match(r"word error rate \d+\.\d+% on 40 words, part 'test'", ended.out)


class TestPredict:
    @pytest.fixture
    def recordings(self, tmp_path: Path) -> list[Path]:
        corpus = synthesize(10)
        for number in (0, 1):
            file = tmp_path / f"{number}.wav"
            soundfile.write(file, corpus.waveform(number), corpus.sample_rate)
        return [tmp_path / "0.wav", tmp_path / "1.wav"]

    def test_gives_words_with_times(
        self, checkpoint: Path, recordings: list[Path], run: Callable[..., Ended]
    ) -> None:
        ended = run("predict", str(checkpoint), *map(str, recordings), "--json")
        assert ended.code == 0
        assert [file["path"] for file in ended.json["files"]] == [str(file) for file in recordings]
        for file in ended.json["files"]:
            assert file["words"]
            for word in file["words"]:
                assert word.keys() == {"word", "start_s", "end_s", "confidence"}
                assert word["word"] in ("yes", "no")
                assert 0 <= word["start_s"] < word["end_s"]
                assert 0 < word["confidence"] <= 1

    def test_a_sample_of_the_corpus_is_what_evaluate_would_hear(
        self, checkpoint: Path, tmp_path: Path, run: Callable[..., Ended]
    ) -> None:
        file = run("predict", str(checkpoint), "--sample", "--json").json["files"][0]
        corpus = synthesize(10)
        index = corpus.names.index(file["path"])
        assert index in select_part(load_checkpoint(checkpoint), corpus, "test")
        assert file["spoken"] == corpus.words_of(index).split()
        soundfile.write(tmp_path / "same.wav", corpus.waveform(index), corpus.sample_rate)
        same = run("predict", str(checkpoint), str(tmp_path / "same.wav"), "--json")
        assert len(file["words"]) == len(same.json["files"][0]["words"]) > 0
        shown = run("predict", str(checkpoint), "--sample").out
        assert " ".join(file["spoken"]) in shown

    def test_reads_standard_input(
        self,
        checkpoint: Path,
        recordings: list[Path],
        run: Callable[..., Ended],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        from_file = run("predict", str(checkpoint), str(recordings[0]), "--json").json["files"][0]
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(recordings[0].read_bytes())))
        ended = run("predict", str(checkpoint), "-", "--json")
        assert ended.json["files"] == [{"path": "-", "words": from_file["words"]}]

    def test_prints_for_people(
        self, checkpoint: Path, recordings: list[Path], run: Callable[..., Ended]
    ) -> None:
        ended = run("predict", str(checkpoint), str(recordings[0]))
        words, *timed = ended.out.splitlines()
        assert [line.split()[4] for line in timed] == words.split()

    def test_hears_nothing_in_a_recording_too_short_for_a_word(
        self, checkpoint: Path, tmp_path: Path, run: Callable[..., Ended]
    ) -> None:
        soundfile.write(tmp_path / "short.wav", [0.1, -0.1, 0.1], 8000)
        ended = run("predict", str(checkpoint), str(tmp_path / "short.wav"))
        assert (ended.code, ended.out) == (0, "(nothing)\n")


def test_a_corpus_is_made_checked_and_shown(run: Callable[..., Ended], tmp_path: Path) -> None:
    folder = str(tmp_path / "new")
    made = run("corpus", "synthesize", folder, "--recordings", "4", "--json")
    checked = run("corpus", "check", folder, "--json")
    shown = run("corpus", "show", "1", folder, "--json")
    for ended in (made, checked, shown):
        assert ended.code == 0
        assert ended.json["recordings"] == 4
        assert ended.json["words"] == 32
        assert ended.json["problems"] == []
    assert len({ended.json["fingerprint"] for ended in (made, checked, shown)}) == 1
    assert len(shown.json["labels"]) == 8
    assert "Waveform: tensor" in run("corpus", "show", "1", folder).out


def test_a_corpus_with_a_bad_recording_is_not_good(
    run: Callable[..., Ended], tmp_path: Path
) -> None:
    run("corpus", "synthesize", str(tmp_path), "--recordings", "4")
    (tmp_path / "waves_yesno" / "0_1.wav").write_text("no sound")
    ended = run("corpus", "check", str(tmp_path), "--json")
    assert ended.code == 2
    (problem,) = ended.json["problems"]
    assert problem.startswith("0_1.wav: ")
    assert ended.json["recordings"] == 4


@pytest.mark.long
def test_a_machine_without_triton_trains(tmp_path: Path) -> None:
    """docs/installation.md removes it where there is no GPU."""
    program = (
        "import sys; sys.modules['triton'] = None\n"
        "from raytune_yesno.cli import main\nsys.exit(main(sys.argv[1:]))"
    )
    options = (*SMALL, "--epochs", "1", "--num-workers", "0", "--out", str(tmp_path / "new"))
    done = subprocess.run(
        [sys.executable, "-c", program, "train", *options], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "new/best").is_dir()


# A study -------------------------------------------------------------------------------------


@pytest.mark.ray
def test_a_study_is_resumed_after_every_kind_of_end(ray_cluster: str, tmp_path: Path) -> None:
    """Interrupted, terminated and killed, it trains all trials that were asked for, each once."""
    out, log = tmp_path / "study", tmp_path / "log"
    options = ("--search", "random", "--scheduler", "fifo", "--trials", "6", "--epochs", "12")
    cluster = ("--max-concurrent", "1", "--address", ray_cluster)
    space = tmp_path / "space.yaml"
    space.write_text("learning_rate: {float: [1.0e-3, 1.0e-2], log: true}\n")
    arguments = ["tune", *SMALL, *options, *cluster, "--space", str(space), "--out", str(out)]
    ends: list[Study] = []

    def num_finished(study: Study) -> int:
        return sum(trial.status != "running" for trial in study.trial_list)

    def in_the_midst() -> bool:
        """Say whether another trial has ended, and one is in its midst."""
        if not (out / "study.jsonl").exists():
            return False
        study = load(out)
        more = num_finished(study) > (num_finished(ends[-1]) if ends else 0)
        return more and any(t.status == "running" and t.epochs for t in study.trial_list)

    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
        process = start(*arguments, log=log)
        await_state(process, in_the_midst)
        process.send_signal(signum)
        ended = finish(process, log)
        ends.append(load(out))
        assert num_finished(ends[-1]) < 6
        assert ended.out == ""
        if signum == signal.SIGKILL:
            assert ended.code == -signum
        else:
            assert ended.code == 128 + signum
            assert read_events(out)[0][-1]["event"] == "paused"
            arguments = [*resume_arguments(ended), "--address", ray_cluster]

    ended = finish(start(*arguments, "--json", log=log), log)
    assert ended.code == 0
    study = load(out)
    assert study.searched
    assert [trial.status for trial in study.trial_list] == ["done"] * 6
    events, problems = read_events(out)
    assert not problems
    for kind in ("asked", "ended"):
        assert sorted(e["trial"] for e in events if e["event"] == kind) == list(range(6))
    for end in ends:
        for trial in end.trial_list:
            if trial.status != "running":
                assert study.trial_list[trial.number] == trial
    for trial in study.trial_list:
        losses = [record.metrics["valid_loss"] for record in fit_trial(study, trial.number)]
        assert [epoch["valid_loss"] for epoch in trial.epochs] == losses

    result = ended.json
    assert result["study"] == str(out)
    assert (result["trials"], result["errors"]) == (6, 0)
    assert 0 < result["efficiency"] <= 1
    assert build_config(result["best"]["config"]) == best_config(study, study.best)
    assert result["best"]["metrics"]["valid_loss"] == study.best.best_epoch["valid_loss"]
    assert Path(result["refit"]["checkpoint"]).is_absolute()
    recognizer = Recognizer.load(result["refit"]["checkpoint"])
    assert result["refit"]["test"] == evaluate(recognizer, synthesize(10), "test")


def catches(pid: int, signum: int) -> bool:
    """Say whether a process, unless it has ended, has a handler of its own for a signal."""
    with contextlib.suppress(OSError):
        caught = re.search(r"SigCgt:\s*(\w+)", Path(f"/proc/{pid}/status").read_text())
        return bool(caught and int(caught[1], 16) >> (signum - 1) & 1)
    return False


def fit_trial(study: Study, number: int) -> Any:
    return fit(best_config(study, study.trial_list[number]), synthesize(10))
