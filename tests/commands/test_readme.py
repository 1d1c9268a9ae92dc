"""What the README and the guides say, run, parsed or looked up."""

import argparse
import contextlib
import os
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from helpers.builders import RecipeNet
from helpers.readme import DOCUMENTS, ROOT, TEXT, Block, read_blocks, read_prose, read_tables

from raytune_yesno import cli
from raytune_yesno.commands.settings import build_plan, read_settings
from raytune_yesno.config import build_config
from raytune_yesno.errors import InputError
from raytune_yesno.schedulers.build import SCHEDULERS
from raytune_yesno.search import ALGORITHMS, Observation
from raytune_yesno.space import check_point, parse_space
from raytune_yesno.study.store import StudyStore
from raytune_yesno.tasks.speech.settings import MODEL_DEFAULTS
from raytune_yesno.tasks.speech.synthetic import synthesize
from raytune_yesno.tasks.task import find_space
from raytune_yesno.training.loop import fit
from raytune_yesno.tuning.plan import Plan
from raytune_yesno.tuning.plan_checks import check_all_points, check_plan
from raytune_yesno.values import parse_assignments

TUTORIAL, PYTHON = "docs/tutorial.md", "docs/python.md"
BLOCKS = read_blocks()
KEYS = set(build_config({}).as_dict())
CONFIGS = [build_config({"model": model}) for model in MODEL_DEFAULTS]
CONFIGS.append(build_config({"task": "sine"}))
COMMANDS = [
    words[1:]
    for block in BLOCKS
    if block.language == "sh"
    for words in block.commands
    if words[0] == "raytune-yesno"
]
STUDIES = [words for words in COMMANDS if words[0] == "tune"]


def parse(words: list[str]) -> argparse.Namespace:
    return cli.build_parser().parse_args(words)


def subparsers(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """Return a parser's commands."""
    groups = [a for a in parser._actions if isinstance(a, argparse._SubParsersAction)]
    return dict(groups[0].choices) if groups else {}


def all_parsers(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    yield parser
    for command in subparsers(parser).values():
        yield from all_parsers(command)


def write_yaml_files() -> None:
    """Write the files that the README names into the working directory."""
    for block in BLOCKS:
        if block.file:
            Path(block.file).write_text(block.text)


def plan_study(words: list[str]) -> Plan:
    options = parse(words)
    plan = build_plan(read_settings(options), options)
    check_plan(plan)
    return plan


def run_python(text: str, names: dict[str, Any]) -> None:
    exec(compile(text, "README.md", "exec"), names)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in an empty folder."""
    monkeypatch.chdir(tmp_path)
    write_yaml_files()
    (tmp_path / "scripts").symlink_to(ROOT / "scripts")
    return tmp_path


def ids(words: list[str]) -> str:
    return shlex.join(words)[:70]


@pytest.mark.parametrize("words", COMMANDS, ids=ids)
def test_every_command_is_one_that_the_parser_takes(words: list[str]) -> None:
    options = parse(words)
    build_config(parse_assignments(getattr(options, "assignments", [])))


def test_the_commands_of_sessions_are_ones_that_the_parser_takes() -> None:
    shown = [
        line.removeprefix("$ raytune-yesno ")
        for block in BLOCKS
        if block.language == "console"
        for line in re.sub(r" \\\n", "", block.text).splitlines()
        if line.startswith("$ raytune-yesno ")
    ]
    assert len(shown) > 8
    for line in shown:
        parse(shlex.split(line.rstrip("&"), comments=True))


@pytest.mark.parametrize("words", STUDIES, ids=ids)
def test_every_study_has_a_plan_and_its_search_suggests(words: list[str], here: Path) -> None:
    plan = plan_study(words)
    algorithm = plan.build_algorithm()
    history: list[Observation] = []
    for number in range(min(12, plan.num_trials)):
        point = algorithm.suggest(number, history)
        check_point(plan.space, point, partial=plan.search == "manual")
        build_config(plan.config, point)
        history.append(Observation(number, point, loss=1 / (number + 1), epochs=1, status="done"))
    points = [str(seen.point) for seen in history]
    assert len(set(points)) == len(points)


def test_the_tutorials_ways_of_tuning_are_all_there() -> None:
    searches = {parse(words).search for words in STUDIES} | {
        yaml.safe_load(block.text).get("search") for block in BLOCKS if block.language == "yaml"
    }
    assert searches >= {"manual", "grid", "random", "bayesian", "pso", "tpe"}


def test_a_list_of_points_is_tried_in_its_order(here: Path) -> None:
    plan = plan_study(["tune", "--config", "manual.yaml"])
    points = yaml.safe_load(Path("manual.yaml").read_text())["search_options"]["points"]
    assert plan.num_trials == len(points) == 3
    algorithm = plan.build_algorithm()
    assert [algorithm.suggest(number, []) for number in range(4)] == [*points, None]


def test_the_small_grid_has_every_combination(here: Path) -> None:
    plan = plan_study(["tune", "--search", "grid", "--space", "small.yaml"])
    assert plan.num_trials == 5 * 3 * 5


def test_a_grid_of_the_whole_space_is_not_begun_unasked(here: Path) -> None:
    with pytest.raises(InputError, match=r"the space has [\d,]{9,} points; .*set trials to"):
        plan_study(["tune", "--search", "grid"])
    plan = plan_study(["tune", "--search", "grid", "--trials", "9"])
    with pytest.raises(InputError, match="first 9 of the"):  # one corner of it
        check_all_points(plan)


@pytest.mark.parametrize(
    "block", [block for block in BLOCKS if block.language == "yaml"], ids=lambda block: block.file
)
def test_every_yaml_block_is_settings_or_a_space(block: Block, here: Path) -> None:
    assert block.file
    if "search" in yaml.safe_load(block.text):
        plan_study(["tune", "--config", block.file])
    else:
        assert parse_space(yaml.safe_load(block.text)).keys() <= KEYS


def test_the_names_in_the_settings_comments_are_all_there_are() -> None:
    lines = "\n".join(block.text for block in BLOCKS if block.file == "study.yaml")
    for key, names in (("search", ALGORITHMS), ("scheduler", SCHEDULERS)):
        comment = re.search(rf"^{key}: \w+ +# (.*)$", lines, flags=re.M)
        assert comment
        assert set(comment[1].split()) == set(names)


class TestTheTutorial:
    """Its blocks in their order, in one folder and one namespace; studies are planned only."""

    @pytest.fixture(params=["synthetic", "yesno"])
    def corpus(self, request: pytest.FixtureRequest) -> str:
        if request.param == "yesno" and "YESNO_ROOT" not in os.environ:
            pytest.skip("YESNO_ROOT, the folder that holds waves_yesno, is not set")
        return str(request.param)

    @pytest.mark.long
    def test_runs_as_it_stands(
        self, here: Path, corpus: str, capfd: pytest.CaptureFixture[str]
    ) -> None:
        names: dict[str, Any] = {}
        printed = {}
        for block in (block for block in BLOCKS if block.document == TUTORIAL):
            if block.language == "python":
                run_python(block.text.replace('"synthetic"', f'"{corpus}"'), names)
            elif block.language == "sh":
                for words in block.commands:
                    arguments = [corpus if word == "synthetic" else word for word in words[1:]]
                    if arguments[0] != "tune":
                        assert cli.main(arguments) == 0
            printed[block.section, block.language] = capfd.readouterr().out

        self.check_the_corpus(names, printed, corpus)
        self.check_the_network(names)
        self.check_the_polynomial(names, printed)

    def check_the_corpus(
        self, names: dict[str, Any], printed: dict[tuple[str, str], str], corpus: str
    ) -> None:
        item = names["yesno_data"][3]
        looked_at = printed["Loading data", "python"]
        assert looked_at.startswith(f"Waveform: {item[0]}\nSample rate: 8000\nLabels: {item[2]}\n")
        words, shown = printed["Loading data", "sh"].split("\n", 1)
        assert words.endswith(" ".join("yes" if label else "no" for label in item[2]))
        assert shown.startswith(f"Waveform: {item[0]}\nSample rate: 8000\nLabels: {item[2]}\n")
        # What a DataLoader makes of a batch of one recording: everything has one more axis.
        assert names["waveform"].shape[:2] == (1, 1)
        assert names["sample_rate"].tolist() == [8000]
        assert {label.item() for label in names["labels"]} <= {0, 1}

    def check_the_network(self, names: dict[str, Any]) -> None:
        recipe = RecipeNet()
        saved = torch.load("state_dict_model.pt", weights_only=True)
        assert recipe.load_state_dict(saved) == ([], [])
        image = names["random_data"]
        torch.testing.assert_close(names["result"], recipe.eval()(image))
        torch.testing.assert_close(names["result"].exp().sum(), torch.tensor(1.0))
        assert names["result"].shape == (1, 10)
        group = names["optimizer"].param_groups[0]
        assert (group["lr"], group["momentum"]) == (0.001, 0.9)
        options = {word for words in COMMANDS if "runs/sgd" in words for word in words}
        assert {"optimizer=sgd", "learning_rate=0.001", "momentum=0.9"} <= options
        assert names["trained"].fc2.out_features == 3

    def check_the_polynomial(
        self, names: dict[str, Any], printed: dict[tuple[str, str], str]
    ) -> None:
        line = printed["The polynomial", "sh"].splitlines()[-1]
        layer = names["linear_layer"]
        b, c, d = layer.weight[0].tolist()
        assert line == f"Result: y = {layer.bias.item()} + {b} x + {c} x^2 + {d} x^3"
        assert printed["The polynomial", "python"].startswith(f"y = {layer.bias.item()} + {b} x")
        assert (b, d) == pytest.approx((0.85, -0.093), abs=0.05)

    def test_every_hyperparameter_is_searched(self) -> None:
        rows = read_tables("Hyperparameters")[0]
        assert len(rows) == 8
        for _, keys in rows:
            named = re.findall(r"`(\w+)`", keys)
            assert named
            assert set(named) <= KEYS
            assert any(set(named) & set(space) for space in map(find_space, CONFIGS))

    def test_what_augments_sound_is_all_named(self) -> None:
        hyperparameters, images = (str(table) for table in read_tables("Hyperparameters"))
        for key in (key for key in KEYS if key.startswith("augment_")):
            assert f"`{key}`" in hyperparameters
            assert f"`{key}`" in images
            # The tutorial's network is trained without, unless it is asked for.
            assert getattr(build_config({"model": "cnn"}), key) == 0


@pytest.mark.ray
@pytest.mark.usefixtures("one_slot")
def test_the_guide_to_python_runs(
    here: Path, ray_cluster: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_run(here / "runs/first")
    write_study(here / "studies/first")
    monkeypatch.setattr("raytune_yesno.cluster.session.ray_session", contextlib.nullcontext)
    names: dict[str, Any] = {}
    for block in BLOCKS:
        if block.document == PYTHON and block.language == "python":
            run_python(block.text, names)
            if block.section == "A study":
                assert len(names["study"].trial_list) == 4
                assert (Path(names["refit"]["checkpoint"]) / "checkpoint.json").is_file()
            elif block.section == "Reading a study":
                assert names["study"].best.point == {"learning_rate": 0.01}
    assert len(names["tuner"].fit()) == 4


def write_run(out: Path) -> None:
    config = build_config({"channels": (4, 8), "hidden_units": 8, "epochs": 1})
    next(fit(config, synthesize(10, seed=0))).save(out / "best")


def write_study(out: Path) -> None:
    store = StudyStore(out)
    store.append("study", slots=1, config={}, space={})
    store.append("asked", trial=0, point={"learning_rate": 0.01})
    store.append("started", trial=0, attempt=1)
    measured = {"host": "here", "node": "a", "pid": 1, "began": 0.0, "ended": 1.0, "seconds": 1.0}
    store.append("epoch", trial=0, attempt=1, epoch=1, train_loss=1.0, valid_loss=1.0, **measured)
    store.append("ended", trial=0, status="done")


def test_the_first_screen_is_short_and_shows_the_report() -> None:
    lines = DOCUMENTS["README.md"].splitlines()
    assert len(lines) <= 250
    picture = ROOT / "docs/images/study.png"
    assert f"({picture.relative_to(ROOT)})" in "\n".join(lines[:10])
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert picture.stat().st_size < 300_000


def test_the_table_of_commands_is_the_parsers() -> None:
    documented = set()
    commands = subparsers(cli.build_parser())
    for cell, _ in read_tables("The main job")[0]:
        first, *rest = cell.strip("`").replace("\\|", "|").split()
        actions = rest[-1].split("|") if subparsers(commands[first]) else [""]
        documented |= {(first, action) for action in actions}
    assert documented == {
        (name, action) for name, parser in commands.items() for action in subparsers(parser) or [""]
    }


def test_every_option_named_is_one() -> None:
    parsers = all_parsers(cli.build_parser())
    ours = {flag for parser in parsers for flag in parser._option_string_actions}
    ours |= set(re.findall(r"^ +(--\w+)\)", (ROOT / "scripts/test").read_text(), re.MULTILINE))
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", read_prose()))
    assert named - ours == set()


def test_every_config_key_in_the_prose_is_one() -> None:
    assigned = re.findall(r"--set (\w+)=", TEXT)
    assert set(assigned) - {"key"} <= KEYS


def list_links(document: Path) -> list[str]:
    return re.findall(r"\]\(([^)#\s]+)[^)]*\)", document.read_text(encoding="utf-8"))


def test_every_file_named_is_there() -> None:
    for document in (*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), ROOT / "cluster/README.md"):
        for link in list_links(document):
            assert "://" in link or (document.parent / link).exists(), (document, link)
    folders = "scripts|cluster|docs|raytune_yesno|tests"
    paths = re.findall(rf"(?<![\w/.])(?:{folders})/[\w./-]*\w", TEXT)
    assert paths
    for path in paths:
        assert (ROOT / path).exists(), path


def test_the_index_names_every_document() -> None:
    index = set(list_links(ROOT / "docs/README.md"))
    assert {path.name for path in ROOT.glob("docs/*.md")} - index == {"README.md"}
    site = (ROOT / "docs/site/mkdocs.yml").read_text()
    assert all(f" docs/{path.name}\n" in site for path in ROOT.glob("docs/*.md"))


def test_the_scripts_named_can_be_run() -> None:
    scripts = {ROOT / name for name in re.findall(r"scripts/[\w./]*\w", TEXT)}
    for name in ("quickstart", "test", "bench", "reliability", "analyze_study.py"):
        assert ROOT / "scripts" / name in scripts
    for script in scripts:
        if script.is_dir():  # `python scripts/bench …`
            assert (script / "__main__.py").is_file(), script
        elif not script.suffix:
            assert os.access(script, os.X_OK), script
