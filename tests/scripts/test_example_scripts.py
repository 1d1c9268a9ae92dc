"""The examples in ``scripts/examples``: short, and they run."""

import re
import runpy
import shlex
from pathlib import Path
from typing import Any

import pytest

from raytune_yesno import cli
from raytune_yesno.checkpoint import load_checkpoint
from raytune_yesno.commands.settings import build_plan, read_settings
from raytune_yesno.config import build_config, declare_task, find_task, register_task
from raytune_yesno.space import Float
from raytune_yesno.task_registry import TASKS
from raytune_yesno.tasks.task import find_space, open_records
from raytune_yesno.tuning.plan_checks import check_plan

EXAMPLES = Path(__file__).parents[2] / "scripts" / "examples"
MAX_LINES = 90


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.stem)
def test_is_short(path: Path) -> None:
    limit = MAX_LINES if path.stem in ("digits", "spoken_digits") else 60
    assert len(path.read_text().splitlines()) <= limit


@pytest.mark.parametrize("name", ["sgd_partial_fit.py:objective", "boosting.py:objective"])
def test_a_generator_learns_and_resumes_exactly(name: str, tmp_path: Path) -> None:
    if "boosting" in name:
        pytest.importorskip("lightgbm")
    task = f"{EXAMPLES / name}"
    TASKS.trust(task)
    declaration = declare_task(task, space=find_task(task).space, config={"epochs": 4})
    config = build_config({"task": task, "epochs": 4}, declaration=declaration)
    point = {key: domain.decode(0.4) for key, domain in find_space(config).items()}
    config = build_config(config, point)
    records = open_records(config, None)
    next(records)
    next(records).save(tmp_path / "state")
    whole = [strip(record.metrics) for record in records]
    resume = load_checkpoint(tmp_path / "state")
    resumed = [strip(record.metrics) for record in open_records(config, None, resume=resume)]
    assert resumed == whole
    objective = config.objective
    assert objective.cost(whole[-1]) <= objective.cost(resume.history[0])


DOCUMENT = (EXAMPLES.parents[1] / "docs" / "own_tasks.md").read_text()


def test_the_generator_in_the_document_runs() -> None:
    block = next(
        text for text in re.findall(r"```python\n(.*?)```", DOCUMENT, re.S) if "def" in text
    )
    names: dict[str, Any] = {}
    exec(block, names)
    register_task("test:document", names["objective"])
    config = {"metric": "loss", "epochs": 3}
    task = declare_task("test:document", space={"rate": Float(0.1, 0.9)}, config=config)
    built = build_config({"task": "test:document"}, config, {"rate": 0.5}, declaration=task)
    losses = [record.metrics["half_loss"] for record in open_records(built, None)]
    assert losses == [0.25, 0.125, 0.0625]


def test_the_commands_in_the_document_plan_a_study(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(EXAMPLES.parents[1])
    blocks = re.findall(r"```sh\n(.*?)```", DOCUMENT, re.S)
    lines = "".join(blocks).replace("\\\n", " ").splitlines()
    assert lines
    for words in map(shlex.split, lines):
        options = cli.build_parser().parse_args(words[1:])
        check_plan(build_plan(read_settings(options), options))


def strip(metrics: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in metrics.items() if key != "seconds"}


@pytest.mark.ray
@pytest.mark.usefixtures("one_slot")
def test_the_same_study_takes_fewer_lines_than_with_ray_tune(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    ray_cluster: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(EXAMPLES / "ray_tune_after.py"), run_name="__main__")
    found = capsys.readouterr().out
    assert "rate" in found
    runpy.run_path(str(EXAMPLES / "ray_tune_after.py"), run_name="__main__")
    assert capsys.readouterr().out == found  # resumed, and there was nothing left to do
    before, after = (
        sum(bool(line.strip()) for line in (EXAMPLES / f"{name}.py").read_text().splitlines())
        for name in ("ray_tune_before", "ray_tune_after")
    )
    assert after < 0.6 * before
