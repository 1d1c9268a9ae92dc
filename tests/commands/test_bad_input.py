"""Damaged input for every reader, as the fuzz campaign makes it, and what that has found."""

import contextlib
import gzip
import json
import os
import pickle
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from reliability.fuzz.checkpoint_kinds import good_checkpoints
from reliability.fuzz.kind import Kind, Reached, find_untidy, judge
from reliability.fuzz.kinds import KINDS
from reliability.fuzz.record_kinds import good_experiments, good_studies
from reliability.fuzz.sound_kinds import good_archives
from reliability.fuzz.table import format_table

from raytune_yesno import cli
from raytune_yesno.checkpoint import (
    DESCRIPTION,
    RESUME,
    STATE_DICT,
    describe_checkpoint,
    load_checkpoint,
)
from raytune_yesno.config import build_config
from raytune_yesno.errors import InputError, WorkError, one_line
from raytune_yesno.files.yaml_text import load_documents
from raytune_yesno.launch.definition_rules import check_definition
from raytune_yesno.launch.launch_state import STATE, find_launch, launch_folder
from raytune_yesno.study import load
from raytune_yesno.study.store import STORE
from raytune_yesno.tasks.speech.download import fetch
from raytune_yesno.tasks.speech.folder import read_folder
from raytune_yesno.tasks.speech.recognizer import Recognizer
from raytune_yesno.training.loop import fit

FUZZ = Path(__file__).parents[2] / "scripts" / "reliability"
PURE = ("config keys", "--set and --point", "settings files", "search spaces")


@pytest.mark.long
def test_every_kind_is_refused_in_one_line_or_taken_as_given(tmp_path: Path) -> None:
    count = 25
    command = [sys.executable, FUZZ, "fuzz", "--count", str(count), "--seed", "5", "--minutes", "9"]
    ended = subprocess.run(
        [*command, "--out", tmp_path, "--findings", tmp_path / "findings"],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    (file,) = tmp_path.glob("*.jsonl")
    results = [json.loads(line) for line in file.read_text().splitlines()]
    assert [(result["kind"], sum(result["ends"].values())) for result in results] == [
        (name, count) for name in KINDS
    ]
    assert ended.stdout.strip() == format_table(results)


@pytest.mark.parametrize("name", PURE)
def test_damage_that_hypothesis_draws(
    name: str, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reliability.fuzz.kind.LIMIT_S", 0)  # no limit but that of pytest
    kind = KINDS[name]
    folder = tmp_path_factory.mktemp("seeds")

    @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.data())
    def check(data: st.DataObject) -> None:
        draw = data.draw(st.randoms(use_true_random=False))
        damaged = draw.choice(kind.seeds(folder))
        for _ in range(draw.choice((1, 2, 3))):
            damaged = kind.mutate(draw, damaged)
        verdict = judge(lambda: kind.attempt(damaged, tmp_path_factory.mktemp("try")))
        assert verdict.outcome in ("refused", "accepted"), (verdict, damaged)

    check()


class TestJudging:
    """A fuzzer that finds nothing must be one that could."""

    @pytest.mark.parametrize(
        ("error", "outcome"),
        [
            (InputError("no"), "refused"),
            (ValueError("no"), "traceback"),
            (SystemExit(1), "traceback"),
            (MemoryError(), "traceback"),
            (RecursionError(), "traceback"),
        ],
    )
    def test_only_an_input_error_is_a_refusal(self, error: BaseException, outcome: str) -> None:
        def fail() -> None:
            raise error

        assert judge(fail).outcome == outcome

    def test_taken_otherwise_is_a_finding(self) -> None:
        assert judge(lambda: "3.7 as 3").outcome == "silent default"
        assert judge(lambda: None).outcome == "accepted"

    def test_what_does_not_end_is_stopped(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("reliability.fuzz.kind.LIMIT_S", 0.05)

        def wait() -> None:
            while True:
                pass

        assert judge(wait).outcome == "hang"

    @pytest.mark.parametrize("message", ["a\nb", "x" * 2000, "\udcff", "\x1b[2J", ""])
    def test_a_message_must_be_a_line_for_a_terminal(self, message: str) -> None:
        assert find_untidy(message)
        assert not find_untidy("data: 'é' is not a folder")

    def test_new_lines_are_noticed_once(self) -> None:
        reached = Reached(("raytune_yesno.errors",))
        with reached.watching():
            one_line("short")
        assert reached.fresh
        with reached.watching():
            one_line("brief")
        assert not reached.fresh
        with reached.watching():
            one_line("x" * 5000)
        assert reached.fresh

    @pytest.mark.parametrize("kind", KINDS.values(), ids=list(KINDS))
    def test_the_same_seed_is_the_same_damage(self, kind: Kind, tmp_path: Path) -> None:
        (tmp_path / "seeds").mkdir()
        seeds = kind.seeds(tmp_path / "seeds")
        draws = [random.Random(4), random.Random(4)]
        one, other = ([kind.mutate(draw, seeds[0]) for _ in range(5)] for draw in draws)
        assert str(one) == str(other)


class TestMessages:
    @pytest.mark.parametrize("kind", [InputError, WorkError])
    def test_stay_one_line_whatever_they_name(self, kind: type[Exception]) -> None:
        said = str(kind(f"a\nb\x1b[31m\udcff\u2028{'9' * 5000}: is wrong"))
        assert len(said.splitlines()) == 1
        assert said.isprintable()
        assert len(said) < 600
        assert said.endswith("is wrong")

    def test_lines_that_are_meant_stay_lines(self) -> None:
        error = InputError("two things:", "one\nthing", "another")
        assert str(error).splitlines() == ["two things:", "  one\\nthing", "  another"]
        assert str(pickle.loads(pickle.dumps(error))) == str(error)

    def test_a_file_may_have_any_name(self, tmp_path: Path) -> None:
        for name in ("0_1.wav", "a\nb.wav", "\x1b[2J.wav", os.fsdecode(b"\xff.wav")):
            (tmp_path / name).write_bytes(b"")
        with pytest.raises(InputError) as raised:
            read_folder(tmp_path)
        lines = str(raised.value).splitlines()
        assert len(lines) == 6  # the folder, four files, and that nothing is left
        assert all(line.isprintable() for line in lines)


class TestYAML:
    @pytest.mark.parametrize(
        ("text", "says"),
        [
            ("seed: 1\nepochs: 2\nseed: 3", "line 3: .*'seed'.*twice"),
            ("a: {b: 1, b: 2}", "'b'.*twice"),
            ("a: !!float x", "line 1: 'x'.*float"),
            ("a: !!int ''", "int"),
            ("a: !!bool maybe", "'maybe'.*bool"),
            ("a: 2001-99-99", "'2001-99-99'.*timestamp"),
            ("a: " + "9" * 5000, "int"),
            ("a: " + "[" * 2000, "nested more than 50 deep"),
            ("a: &a [*a]", "100,000 values"),
            ('a: "\\ud800"', "str"),
            ("a: \x00", "line 1: "),
            ("a: !!python/object/apply:os.system [echo]", "could not determine a constructor"),
            ("x" * 1_000_001, "longer than 1,000,000 characters"),
        ],
    )
    def test_is_refused_in_one_line(self, text: str, says: str) -> None:
        with pytest.raises(ValueError, match=says) as raised:
            load_documents(text)
        assert len(str(raised.value).splitlines()) == 1

    def test_aliases_do_not_swell(self) -> None:
        lines = ["a: &a [x, x, x, x, x, x, x, x, x]"]
        for one, other in zip("abcdefgh", "bcdefghi", strict=True):
            lines.append(f"{other}: &{other} [{', '.join([f'*{one}'] * 9)}]")
        with pytest.raises(ValueError, match=r"aliases.* 100,000"):
            load_documents("\n".join(lines))

    def test_aliases_and_merges_are_read(self) -> None:
        (read,) = load_documents("a: &a {x: 1, y: 2}\nb: {<<: *a, y: 3}")
        assert read["b"] == {"x": 1, "y": 3}

    def test_settings_take_a_range_for_text(self) -> None:
        assert load_documents("a: 1:30", decimal=True) == [{"a": "1:30"}]

    @pytest.mark.parametrize("number", ["010", "0x10", "0b11", "1_000"])
    def test_settings_take_decimal_numbers_alone(self, number: str) -> None:
        load_documents(f"a: {number}")
        with pytest.raises(ValueError, match="decimal digits"):
            load_documents(f"a: {number}", decimal=True)

    @pytest.mark.parametrize("number", ["1:30", "0x10", "0b11", "1_000", "٣"])
    def test_so_does_the_command_line(self, number: str) -> None:
        assert build_config({"epochs": "010"}).epochs == 10
        with pytest.raises(InputError, match="epochs takes a whole number"):
            build_config({"epochs": number})

    def test_a_whole_number_is_not_rounded(self) -> None:
        with pytest.raises(InputError, match="9007199254740993 is out of range"):
            build_config({"epochs": 2**53 + 1})


@pytest.mark.parametrize(
    "arguments",
    [
        ("tune", "--config", "/dev/zero"),
        ("tune", "--space", "/dev/zero"),
        ("predict", "{checkpoint}", "/dev/zero"),
    ],
)
def test_what_has_no_end_is_refused(
    arguments: tuple[str, ...], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    good_checkpoints(tmp_path)
    checkpoint = str(tmp_path / "yesno")
    assert cli.main([word.format(checkpoint=checkpoint) for word in arguments]) == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert "/dev/zero: " in line


def test_a_name_that_is_no_text_is_shown(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / os.fsdecode(b"\xff")
    assert cli.main(["corpus", "synthesize", str(folder), "--recordings", "4"]) == 0
    assert "\\xff" in capfd.readouterr().out


class TestRecords:
    @pytest.mark.parametrize(
        ("kind", "change", "says"),
        [
            ("epoch", {"seconds": "long"}, "'epoch' has seconds 'long', which is not a time"),
            ("epoch", {"began": 1e300}, "has began 1e+300"),
            ("epoch", {"epoch": [1]}, "has epoch [1], which is not a count"),
            ("epoch", {"valid_loss": "low"}, "has valid_loss 'low', which is not a number"),
            ("epoch", {"valid_loss": 10**400}, "has valid_loss 1000"),
            ("epoch", {"pid": None}, "has pid None"),
            ("asked", {"point": "x"}, "has point 'x', which is not a point"),
            ("asked", {"trial": "0"}, "has trial '0'"),
            ("ended", {"status": 3}, "has status 3, which is not text"),
            ("saved", {"checkpoint": {}}, "has checkpoint {}"),
            ("searched", {"reason": 3.0}, "has reason 3.0, which is not text"),
            ("refitted", {"test": 3.0}, "has test 3.0"),
        ],
    )
    def test_a_field_of_another_kind_is_left_out_and_said(
        self, tmp_path: Path, kind: str, change: dict[str, Any], says: str
    ) -> None:
        events = [json.loads(line) for line in good_studies(tmp_path / "good")[0].splitlines()]
        at = next(n for n, event in enumerate(events) if event["event"] == kind)
        events[at] |= change
        (tmp_path / STORE).write_text("".join(json.dumps(event) + "\n" for event in events))
        study = load(tmp_path)
        assert says in " ".join(study.problems)
        assert find_untidy(study.problems[0]) == ""

    @pytest.mark.parametrize("change", [{"config": 3}, {"slots": 0}, {"corpus": [1]}])
    def test_a_first_line_of_another_kind_is_refused(
        self, tmp_path: Path, change: dict[str, Any]
    ) -> None:
        lines = good_studies(tmp_path / "good")[0].splitlines()
        lines[0] = json.dumps(json.loads(lines[0]) | change).encode()
        (tmp_path / STORE).write_bytes(b"\n".join(lines))
        with pytest.raises(InputError, match="not a study"):
            load(tmp_path)

    @pytest.mark.parametrize("depth", [150, 200_000])
    def test_deep_nesting_is_left_out(self, tmp_path: Path, depth: int) -> None:
        text = good_studies(tmp_path / "good")[0]
        deep = b'{"event": "asked", "time": 1, "point": ' + b"[" * depth + b"]" * depth + b"}\n"
        (tmp_path / STORE).write_bytes(text + deep)
        assert load(tmp_path).problems[0].endswith("not a complete record")

    def test_a_trial_asked_for_twice_keeps_its_epochs(self, tmp_path: Path) -> None:
        lines = good_studies(tmp_path / "good")[0].splitlines()
        (tmp_path / STORE).write_bytes(b"\n".join([*lines, lines[1]]))
        study = load(tmp_path)
        assert any("trial 0" in problem for problem in study.problems)
        assert study.trial_list[0].epochs

    @pytest.mark.parametrize(
        ("name", "damage"),
        [
            ("result.json", {"time_this_iter_s": "somewhere"}),
            ("result.json", {"pid": "?"}),
            ("result.json", {"time_total_s": 10**400}),
            ("result.json", {"timestamp": 1e308}),
            ("result.json", {"training_iteration": 1.5}),
        ],
    )
    def test_a_report_of_another_kind_is_left_out_and_said(
        self, tmp_path: Path, name: str, damage: dict[str, Any]
    ) -> None:
        (files,) = good_experiments(tmp_path)
        target = next(file for file in files if file.endswith(name))
        first, *rest = files[target].splitlines()
        files[target] = b"\n".join([json.dumps(json.loads(first) | damage).encode(), *rest])
        for file, content in files.items():
            (tmp_path / file).parent.mkdir(exist_ok=True)
            (tmp_path / file).write_bytes(content)
        (problem,) = load(tmp_path).problems
        assert "result.json:1:" in problem


class TestCheckpoints:
    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        good_checkpoints(tmp_path)
        return tmp_path

    @staticmethod
    def change(folder: Path, name: str, key: str, value: Any) -> None:
        """Put a value into a file of tensors, with digests that hold."""
        content = torch.load(folder / name, weights_only=True)
        torch.save({**content, key: value}, folder / name)
        description = json.loads((folder / DESCRIPTION).read_text())
        del description["sha256"]
        describe_checkpoint(description, folder)

    @pytest.mark.parametrize(
        "value",
        [torch.zeros(1).expand(10**12), torch.zeros(5), None, "x", torch.zeros(3, device="meta")],
    )
    def test_weights_of_another_shape_are_refused(self, folder: Path, value: Any) -> None:
        self.change(folder / "yesno", STATE_DICT, "conv1.bias", value)
        with pytest.raises(InputError, match=STATE_DICT) as raised:
            Recognizer(load_checkpoint(folder / "yesno"))
        assert find_untidy(str(raised.value)) == ""

    @pytest.mark.parametrize(
        ("key", "value"),
        [("state", 3), ("param_groups", []), ("param_groups", "x"), ("state", torch.zeros(2))],
    )
    def test_an_optimiser_of_another_kind_is_refused(
        self, folder: Path, key: str, value: Any
    ) -> None:
        self.change(folder / "sine", RESUME, key, value)
        checkpoint = load_checkpoint(folder / "sine")
        longer = build_config(checkpoint.config.as_dict(), {"epochs": 2})
        with pytest.raises(InputError, match=RESUME):
            next(fit(longer, resume=checkpoint))

    @pytest.mark.parametrize("momentum", [1e308, float("nan"), torch.zeros(2), None])
    def test_an_option_of_another_kind_is_refused(self, folder: Path, momentum: Any) -> None:
        (group,) = torch.load(folder / "sine" / RESUME, weights_only=True)["param_groups"]
        self.change(folder / "sine", RESUME, "param_groups", [{**group, "momentum": momentum}])
        checkpoint = load_checkpoint(folder / "sine")
        longer = build_config(checkpoint.config.as_dict(), {"epochs": 2})
        with pytest.raises(InputError, match="momentum is"):
            next(fit(longer, resume=checkpoint))

    @pytest.mark.parametrize("change", [{"corpus": "here"}, {"history": 3}, {"epoch": True}])
    def test_a_description_of_another_kind_is_refused(
        self, folder: Path, change: dict[str, Any]
    ) -> None:
        description = json.loads((folder / "yesno" / DESCRIPTION).read_text()) | change
        del description["sha256"]
        describe_checkpoint(description, folder / "yesno")
        with pytest.raises(InputError, match="type"):
            load_checkpoint(folder / "yesno")


class TestArchives:
    def test_another_compression_inside_is_not_unpacked(self, tmp_path: Path) -> None:
        """It would swell behind the limit."""
        import hashlib

        inner = gzip.compress(good_archives(tmp_path)[0][1])
        file = tmp_path / "waves_yesno.tar.gz"
        file.write_bytes(gzip.compress(inner))
        with pytest.raises(InputError, match="is damaged") as raised:
            fetch(tmp_path, checksum=hashlib.sha256(file.read_bytes()).hexdigest())
        assert find_untidy(str(raised.value)) == ""

    @pytest.mark.parametrize("url", ["nowhere", "bogus://x", "file:///nowhere"])
    def test_a_url_of_no_kind_leaves_no_folder(self, tmp_path: Path, url: str) -> None:
        with pytest.raises(InputError, match="no connection"):
            fetch(tmp_path / "a" / "b", url=url)
        assert list(tmp_path.iterdir()) == []


class TestClusters:
    @pytest.mark.parametrize(
        "text",
        [
            "kind: RayJob\nspec: [1]",
            "kind: RayJob\nspec: {rayClusterSpec: {workerGroupSpecs: [3]}}",
            "kind: RayJob\nspec: {rayClusterSpec: {headGroupSpec: {template: x}}}",
            "kind: RayJob\nspec: {rayClusterSpec: {workerGroupSpecs: [{maxReplicas: many}]}}",
            "a: " + "[" * 2000,
        ],
    )
    def test_a_definition_of_another_shape_is_said(self, tmp_path: Path, text: str) -> None:
        (tmp_path / "cluster.yaml").write_text(text)
        problems = check_definition(tmp_path / "cluster.yaml")
        assert problems
        assert all(find_untidy(problem) == "" for problem in problems)

    @pytest.mark.parametrize("name", ["", "...", "x" * 300])
    def test_a_name_that_no_folder_can_have_is_refused(self, name: str) -> None:
        with pytest.raises(InputError, match="cluster_name"):
            launch_folder(name)

    def test_a_damaged_state_is_refused(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
        launch_folder("ours").mkdir(parents=True)
        (launch_folder("ours") / STATE).write_text("{")
        with pytest.raises(InputError, match="damaged"):
            find_launch("ours")


@pytest.mark.parametrize(
    "arguments",
    [
        ("predict", "x" * 3000, "0.wav"),
        ("report", "x" * 3000),
        ("evaluate", "y" * 3000),
        ("train", "--epochs", "1" * 401),
        ("tune", "--out", "s3://"),
        ("report", "file:///"),
        ("tune", "--no\nsuch"),
        ("z" * 5000,),
    ],
)
def test_a_command_line_of_any_length_is_answered_in_one_line(
    arguments: tuple[str, ...], capfd: pytest.CaptureFixture[str]
) -> None:
    code: Any = None
    with contextlib.suppress(SystemExit):
        code = cli.main(arguments)
    assert code in (None, 2)
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("raytune-yesno: ")
    assert len(line) < 1000
