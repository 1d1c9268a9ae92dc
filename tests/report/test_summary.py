"""The summary of the page: its answers agree with the tables."""

import json
import re
import shlex
from collections.abc import Sequence
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from helpers.builders import write_study
from helpers.fronts import write_front

from raytune_yesno import cli
from raytune_yesno.config import build_config, declare_task, register_task
from raytune_yesno.metrics import Metric
from raytune_yesno.report import write_report
from raytune_yesno.report.best_so_far import trace_best
from raytune_yesno.report.early_stopping import bound_correlation, measure_early_stopping
from raytune_yesno.report.importance import Importance
from raytune_yesno.report.leaderboard import format_leaderboard, format_leaderboards
from raytune_yesno.report.plot_data import band_curves
from raytune_yesno.report.range_edges import find_edges
from raytune_yesno.report.sentences import (
    describe_commands,
    describe_curves,
    describe_early_stopping,
    describe_progress,
    judge_early_stopping,
    list_changes,
    split_command,
)
from raytune_yesno.report.study_groups import MIN_REPEATS, compare_groups, group_studies
from raytune_yesno.report.summary import (
    answer_early_stopping,
    answer_gain,
    answer_importance,
    answer_more_trials,
    answer_time,
    describe_comparison,
    describe_studies,
)
from raytune_yesno.report.timeline import build_timeline, list_pauses, name_nodes
from raytune_yesno.space import Choice, Float, format_space
from raytune_yesno.study import Study, Trial, load_all
from raytune_yesno.task_registry import TASKS


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    return write_study(tmp_path_factory.mktemp("answers") / "study")


def test_only_hyperparameters_beyond_chance_are_named() -> None:
    found = Importance(names=("a", "b"), means=(0.4, 0.2), spreads=(0.1, 0.1), chance_level=0.3)
    assert found.clear == ("a",)
    text = answer_importance(found).text
    assert text.startswith("a (0.40 ± 0.10).")
    assert "0.30" in text
    for unclear in (replace(found, chance_level=0.5), Importance("too few")):
        assert answer_importance(unclear).text.startswith("Cannot tell")
    assert "too few" in answer_importance(Importance("too few")).text


def test_early_stopping_agrees_with_the_table(study: Study) -> None:
    spent = measure_early_stopping(study)
    text = answer_early_stopping(spent).text
    assert text.startswith("Yes")
    assert f"{spent.saved:.0%}" in text
    assert "epoch 3" in text
    assert f"{spent.rungs[0].judged} trials" in text
    low, high = bound_correlation(0.5, 30)
    assert low < 0.3 < 0.5 < 0.7 < high
    # Of 120 orders of five trials, one is perfect by chance.
    assert bound_correlation(1.0, 5)[0] < 0.3 < bound_correlation(1.0, 9)[0]


def test_a_section_without_a_question_has_no_answer_to_one(study: Study) -> None:
    stopped = [trial for trial in study.trial_list if trial.status == "stopped"]
    for each in (study, replace(study, trial_list=stopped)):
        stopping = measure_early_stopping(each)
        verdict, evidence = judge_early_stopping(stopping)
        assert answer_early_stopping(stopping).text == f"{verdict} {evidence}"
        assert verdict not in (text := describe_early_stopping(stopping))
        assert evidence in text


def test_trials_that_end_by_themselves_would_not_have_trained_longer(study: Study) -> None:
    stopped = with_curves(study, *[[0.5, 0.4]] * 3, status="stopped").trial_list
    done = with_curves(study, *[[1 / n, 0.3 / n, 0.2 / n] for n in range(1, 6)]).trial_list
    for number, trial in enumerate((*stopped, *done)):
        trial.number, trial.planned = number, [(0, 16)]
    alone = measure_early_stopping(replace(study, trial_list=stopped))
    assert alone.full_epochs == 3 * 16
    both = measure_early_stopping(replace(study, trial_list=[*stopped, *done]))
    assert both.full_epochs == (3 + 5) * 3
    assert [rung.judged for rung in both.rungs] == [5]
    for trial in done[:3]:
        trial.final, trial.repeat_of = True, done[3].number
    both = measure_early_stopping(replace(study, trial_list=[*stopped, *done]))
    assert [rung.judged for rung in both.rungs] == [2]


def test_the_progress_of_one_of_several_objectives_is_named(tmp_path: Path) -> None:
    study = write_front(tmp_path)
    text = describe_progress(study, trace_best(study)["trials"])
    assert "best accuracy came after 5 of 6" in text  # the chosen trial is another one


def test_a_study_without_trials_has_no_statuses(study: Study) -> None:
    headline = format_leaderboard(replace(study, trial_list=[])).splitlines()[0]
    assert "0 trials in" in headline


def test_the_gain_is_over_the_settings_without_tuning(study: Study) -> None:
    assert answer_gain(study) == []
    last, best = study.candidates[-1].trial, study.candidates[0].trial
    for trial, is_best in ((last, False), (best, True)):
        asked = {**study.settings, "config": {**study.config, **trial.point}}
        known = replace(study, settings=asked)
        assert known.untuned is not None
        assert known.untuned.trial.number == trial.number
        (answer,) = answer_gain(known)
        assert f"(trial {trial.number})" in answer.text
        assert known.objective.metric.show(trial.metrics["valid_loss"]) in answer.text
        assert ("nothing" in answer.text) == is_best


def test_trials_without_hyperparameters_have_no_gain_of_tuning(study: Study) -> None:
    trials = [replace(trial, point={}) for trial in study.trial_list]
    assert answer_gain(replace(study, trial_list=trials)) == []


def test_a_tie_with_the_settings_without_tuning_is_no_gain(study: Study) -> None:
    last, best = study.candidates[-1].trial, study.candidates[0].trial
    assert best.best_epoch
    tied = replace(last, epochs=[{**last.epochs[0], "valid_loss": best.best_epoch["valid_loss"]}])
    asked = {**study.settings, "config": {**study.config, **last.point}}
    trials = [tied if trial.number == last.number else trial for trial in study.trial_list]
    (answer,) = answer_gain(replace(study, settings=asked, trial_list=trials))
    assert "nothing" in answer.text
    assert f"(trial {last.number})" in answer.text


def test_the_best_of_a_random_half_agrees_with_a_simulation(study: Study) -> None:
    text = answer_more_trials(study).text
    values = np.array([trial.metrics["valid_loss"] for trial in study.ranking])
    draw = np.random.default_rng(0)
    halves = [draw.choice(values, len(values) // 2, replace=False).min() for _ in range(20_000)]
    (gain,) = re.findall(r"([\d.]+)% on average", text)
    assert float(gain) / 100 == pytest.approx(np.mean(1 - values.min() / halves), rel=0.05)
    (large,) = re.findall(r"([\d.]+) or worse", text)
    near = np.quantile(halves, [0.87, 0.93])
    assert near[0] * 0.999 <= float(large) <= near[1] * 1.001


def test_more_trials_are_judged_alike_for_odd_and_even_numbers(study: Study) -> None:
    """Half of all halves contain the best trial, so a median would depend on the parity."""
    ranked = [trial for trial in study.trial_list if trial.status in study.ranked]
    verdicts = {
        answer_more_trials(replace(study, trial_list=ranked[:count])).text.split()[0]
        for count in (len(ranked), len(ranked) - 1)
    }
    assert len(verdicts) == 1


def test_the_time_is_the_efficiency(study: Study) -> None:
    assert study.efficiency
    assert answer_time(study).text.startswith(f"{study.efficiency.efficiency:.1%} of the time")


@pytest.fixture(scope="module")
def repeats(tmp_path_factory: pytest.TempPathFactory) -> list[Study]:
    folder = tmp_path_factory.mktemp("repeats")
    for search in ("random", "tpe"):
        for seed in (0, 1):
            write_study(folder / f"{search}{seed}", 4, search=search, seed=seed)
    return load_all(sorted(folder.iterdir()))


def test_no_interval_and_no_p_from_fewer_than_five_repeats(repeats: list[Study]) -> None:
    metric = repeats[0].objective.metric
    first, second = group_studies(repeats)
    for count in (2, 4):
        few = [
            replace(first, bests=tuple(1 + k / 10 for k in range(count))),
            replace(second, bests=tuple(2 + k / 10 for k in range(count))),
        ]
        assert [group.interval for group in few] == [None, None]
        assert compare_groups(few) == []
        text = describe_comparison(few, [], metric)
        assert "may be chance" in text
        assert f"at least {MIN_REPEATS}" in text
        assert "interval" not in text
        assert "p =" not in text
    many = [
        replace(first, bests=(1.0, 1.1, 1.2, 1.3, 1.4)),
        replace(second, bests=(2.0, 3.0, 4.0, 5.0, 6.0)),
    ]
    text = describe_comparison(many, compare_groups(many), metric)
    assert text.startswith(first.label)
    assert "Chance is unlikely" in text
    assert "p = 0.0079" in text
    assert "95% interval" in text


def test_the_comparison_speaks_of_all_studies_and_is_first(
    repeats: list[Study], tmp_path: Path
) -> None:
    names = [study.name for study in repeats]
    groups = group_studies(repeats)
    text = " ".join(describe_studies(repeats, names, groups, []))
    bests = {study.name: study.best.metrics["valid_loss"] for study in repeats if study.best}
    assert "4 studies with 16 trials" in text
    assert f" of {min(bests, key=lambda name: bests[name])}: " in text
    assert "one search" in describe_comparison(groups[:1], [], repeats[0].objective.metric)
    page = write_report(repeats, tmp_path / "out").html.read_text()
    sections = re.findall(r'<section id="(\w+)"', page)
    assert sections[:4] == ["compare", "progress", "outcome", "glance"]
    assert set(re.findall(r'<a href="#(\w+)">', page.split("</nav>")[0])) == {
        *set(sections) - {"slices", "pairs"}
    } | ({"table"})
    assert page.count('<dl class="glance">') == len(repeats)
    table = format_leaderboards(repeats, width=100).split("\n\n")[0]
    assert all(name in table for name in names)
    assert "4 studies" in table


def test_what_came_out_is_before_the_doubts(study: Study, tmp_path: Path) -> None:
    page = write_report([study], tmp_path / "out").html.read_text()
    assert re.findall(r'<section id="(\w+)"', page)[:2] == ["outcome", "glance"]
    # Each refusal says what would help.
    for refusal in re.findall(r"Cannot tell[^<]*", page):
        assert re.search("Run|Add|Widen|needed", refusal), refusal


def test_no_sentence_depends_on_the_metrics_of_one_task(study: Study, tmp_path: Path) -> None:
    """A study whose metric is named ``score`` gets a page without the words of recognition."""
    lines = (study.path / "study.jsonl").read_text().splitlines()
    events = []
    for line in lines:
        event = json.loads(line)
        if event["event"] == "study":
            event["metrics"] = [{"name": "score", "mode": "max", "format": "percent", "label": ""}]
            event["config"] = {"epochs": 9, "seed": 0}
        if event["event"] == "epoch":
            for name in ("train_loss", "valid_wer"):
                del event[name]
            event["score"] = 1 / (1 + event.pop("valid_loss"))
        if event["event"] != "refitted":
            events.append(json.dumps(event))
    (tmp_path / "study").mkdir()
    (tmp_path / "study/study.jsonl").write_text("\n".join(events) + "\n")
    other = load_all([tmp_path / "study"])
    page = write_report(other, tmp_path / "out").html.read_text()
    texts = page.split("<main>")[1].split("</main>")[0] + format_leaderboards(other)
    assert other[0].best is not None
    assert "score" in texts
    assert not re.search(r"(?i)\bloss\b|\bwer\b|word|spoken", texts)
    # One kind of figure: a percentage everywhere.
    shown = f"{other[0].best.metrics['score']:.1%}"
    assert f"<b>{shown}</b>" in texts
    assert texts.count(shown) > 2


def test_nodes_of_one_host_are_told_apart(study: Study) -> None:
    trials = [
        replace(trial, epochs=[{**epoch, "node": f"n{trial.number % 2}"} for epoch in trial.epochs])
        for trial in study.trial_list
    ]
    split = Study(**{**vars_of(study), "trial_list": trials})
    assert set(name_nodes(split).values()) == {"here (1)", "here (2)"}
    assert set(name_nodes(study).values()) == {"here"}


def test_one_machine_stays_one_node_after_a_resume(study: Study) -> None:
    half = len(study.trial_list) // 2
    trials = [
        replace(
            trial,
            epochs=[
                {**epoch, "node": "new" if trial.number >= half else "old",
                 "began": epoch["began"] + 1000 * (trial.number >= half),
                 "ended": epoch["ended"] + 1000 * (trial.number >= half)}
                for epoch in trial.epochs
            ],
        )
        for trial in study.trial_list
    ]  # fmt: skip
    starts = [epoch["began"] for trial in trials[half:] for epoch in trial.epochs]
    ends = [epoch["ended"] for trial in trials[:half] for epoch in trial.epochs]
    resumed = replace(study, trial_list=trials, pauses=[(max(ends), min(starts))])
    assert set(name_nodes(resumed).values()) == {"here"}
    ((at, length),) = list_pauses(resumed)
    assert at == pytest.approx(max(ends))
    assert length == pytest.approx(min(starts) - max(ends))


def test_all_attempts_are_on_the_timeline(study: Study) -> None:
    first = study.trial_list[0]
    lost = {**first.epochs[0], "began": 0.2, "ended": 0.9, "attempt": 1}
    again = [{**epoch, "attempt": 2} for epoch in first.epochs]
    retried = replace(first, attempts=2, epochs=again, replaced=[lost])
    _, spans = build_timeline(replace(study, trial_list=[retried, *study.trial_list[1:]]))
    assert {span[4] for span in spans if span[1] == first.number} == {1, 2}


def test_a_best_value_at_the_edge_of_its_range_is_pointed_out(study: Study) -> None:
    assert find_edges(study) == []

    def narrow(**space: dict[str, object]) -> list[str]:
        asked = {**study.settings, "space": {**study.settings["space"], **space}}
        return [f"{e.name} {e.upper}" for e in find_edges(replace(study, settings=asked))]

    assert study.best is not None
    best = study.best.point["learning_rate"]
    low = narrow(learning_rate={"float": [best / 1.01, 0.1], "log": True})
    high = narrow(learning_rate={"float": [1e-4, best * 1.01], "log": True})
    assert (low, high) == (["learning_rate False"], ["learning_rate True"])
    wide = {**study.settings, "space": {"learning_rate": {"float": [1e-9, best], "log": True}}}
    (edge,) = find_edges(replace(study, settings=wide))
    assert "Widen learning_rate" in str(edge)
    assert "Widen learning_rate" in format_leaderboard(replace(study, settings=wide))


def with_results(study: Study, *results: tuple[float, float], of: Sequence[int] = ()) -> Study:
    """Return a study of points x from 0 to 1 with these losses; the last ones are a final round."""
    first = len(results) - len(of)
    trials = with_curves(study, *([loss] for _, loss in results)).trial_list
    changed = [
        replace(trial, point={"x": x}, final=n >= first, repeat_of=[*[None] * first, *of][n])
        for n, (trial, (x, _)) in enumerate(zip(trials, results, strict=True))
    ]
    asked = {**study.settings, "space": {"x": {"float": [0, 1]}}}
    return replace(study, settings=asked, trial_list=changed)


def test_results_that_tie_say_nothing_of_an_edge(study: Study) -> None:
    xs = [n / 11 for n in range(12)]
    assert find_edges(with_results(study, *((x, 0.5) for x in xs))) == []
    assert find_edges(with_results(study, *((0.01 * n, 0.5) for n in range(12)))) == []
    assert find_edges(with_results(study, (0.0, 0.4), (0.1, 0.4), *((x, 0.5) for x in xs))) == []
    (edge,) = find_edges(with_results(study, *((x, 0.5 + max(x, 0.2)) for x in xs)))
    assert (edge.value, edge.upper) == (0, False)


def test_the_edge_is_of_the_point_that_was_chosen(study: Study) -> None:
    """In the final round the search's best turned out as luck."""
    found = [(x / 10, 0.5 + x / 10) for x in range(11)]
    assert find_edges(with_results(study, *found))
    finals = [(0.0, 0.9), (0.1, 0.9), (0.3, 0.4), (0.3, 0.4)]
    chosen = with_results(study, *found, *finals, of=[0, 1, 3, 3])
    assert chosen.best is not None
    assert chosen.best.number == 3
    assert find_edges(chosen) == []


def test_with_several_objectives_no_edge_is_pointed_out(study: Study) -> None:
    """The front reaches the ends of the ranges by its nature."""
    found = with_results(study, *((x / 10, 0.5 + x / 10) for x in range(11)))
    several = replace(found.objective, others=(Metric("seconds", mode="max"),))
    trials = [replace(trial, objective=several) for trial in found.trial_list]
    assert find_edges(found)
    assert find_edges(replace(found, trial_list=trials, objective=several)) == []


def test_bands_step_where_the_curves_step() -> None:
    curves = [[(1.0, 5.0), (3.0, 2.0), (9.0, 2.0)], [(1.0, 4.0), (4.5, 1.0), (9.0, 1.0)]]
    rows = band_curves(curves)
    assert [row[0] for row in rows] == [1, 3, 4.5, 9]
    assert [row[1:] for row in rows] == [[4, 4.5, 5], [2, 3, 4], [1, 1.5, 2], [1, 1.5, 2]]


def test_a_command_is_split_between_its_options() -> None:
    command = "raytune-yesno train --data synthetic --set learning_rate=1e-3 --set 'a=b c'"
    parts = split_command(command)
    assert " ".join(parts) == command
    assert parts[2:] == ["--data synthetic", "--set learning_rate=1e-3", "--set 'a=b c'"]


def test_the_leaderboard_uses_the_width_and_explains_its_columns(study: Study) -> None:
    narrow, wide = format_leaderboard(study, width=60), format_leaderboard(study, width=160)
    assert max(map(len, narrow.splitlines())) <= 60 < max(map(len, wide.splitlines()))
    assert "status" in wide.splitlines()[1].split()
    assert study.best is not None
    epoch, last = study.best.metrics["epoch"], study.best.last_epoch
    assert f"epochs {epoch}/{last}: " in wide


def test_text_and_lines_have_enough_contrast() -> None:
    """WCAG: 4.5 for text on a card and on the page, 3 for marks."""
    style = (files("raytune_yesno.report") / "assets/page.css").read_text()
    for theme in style.split("@media (prefers-color-scheme: dark)")[0:2]:
        colours = dict(re.findall(r"--([\w]+): (#[0-9a-f]{3,6})\b", theme.split("}")[0]))
        for name, least in [("ink", 4.5), ("soft", 4.5), ("good", 4.5), ("bad", 4.5)] + [
            (name, 3) for name in ("best", "done", "stopped", *(f"c{k}" for k in range(8)))
        ]:
            for under in ("card", "back"):
                ratio = measure_contrast(colours[name], colours[under])
                assert ratio >= least, (name, under, ratio)


def measure_contrast(first: str, second: str) -> float:
    lights = []
    for text in (first, second):
        digits = text[1:] if len(text) == 7 else "".join(2 * letter for letter in text[1:])
        parts = [int(digits[k : k + 2], 16) / 255 for k in (0, 2, 4)]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        lights.append(0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2])
    return (max(lights) + 0.05) / (min(lights) + 0.05)


def vars_of(study: Study) -> dict[str, object]:
    return {name: getattr(study, name) for name in study.__dataclass_fields__}


def test_trials_of_one_report_are_not_said_to_improve(study: Study) -> None:
    assert "epoch" in describe_curves(study)
    short = [replace(trial, epochs=trial.epochs[:1]) for trial in study.trial_list]
    assert "improv" not in describe_curves(replace(study, trial_list=short))


def with_curves(study: Study, *curves: Sequence[float], status: str = "done") -> Study:
    """Return a study of trials with these losses."""
    trials = []
    for number, losses in enumerate(curves):
        epochs = [
            {**study.trial_list[0].epochs[0], "trial": number, "epoch": n, "valid_loss": loss}
            for n, loss in enumerate(losses, start=1)
        ]
        trials.append(Trial(number, {"learning_rate": 0.1}, status, epochs))
    return replace(study, trial_list=trials)


@pytest.mark.parametrize(("before", "after"), [(0.0, -0.5), (0.01, -0.9), (0.5, 0.25), (1e308, 0)])
def test_the_progress_of_the_second_half_is_two_values(
    study: Study, before: float, after: float
) -> None:
    halves = with_curves(study, *[[before]] * 5, *[[after]] * 5)
    text = describe_progress(halves, trace_best(halves)["trials"])
    show = study.objective.metric.show
    assert f"{show(before)} to {show(after)}" in text
    assert "%" not in text


def test_a_second_half_without_a_visible_improvement_is_not_praised(study: Study) -> None:
    for after in (0.5, 0.5 - 1e-9):
        halves = with_curves(study, *[[0.5]] * 5, *[[after]] * 5)
        text = describe_progress(halves, trace_best(halves)["trials"])
        assert "improved" not in text
        assert ("no improvement" in text) == (after == 0.5)


@pytest.mark.parametrize("status", ["done", "stopped"])
@pytest.mark.parametrize(
    ("losses", "improving"),
    [
        ([1.0, *[0.1] * 9], False),  # a plateau
        ([0.5] * 10, False),
        ([0.5], False),  # one epoch shows no trend
        ([1.0, 0.1, 0.5, 0.1], False),
        ([1 / epoch for epoch in range(1, 11)], True),
    ],
)
def test_a_plateau_is_no_improvement(
    study: Study, losses: list[float], status: str, improving: bool
) -> None:
    text = describe_curves(with_curves(study, losses, [2.0, 1.5], status=status))
    assert ("still improving" in text) == improving


def test_commands_for_code_of_the_user_name_it(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such code runs only if the command names it, so a pasted command has to."""
    monkeypatch.chdir(tmp_path)
    Path("own.py").write_text("def objective(config):\n    return {'accuracy': config['x']}\n")
    name = "own.py:objective"
    TASKS.trust(name)
    task = declare_task(name, space={"x": Float(0.0, 1.0)}, config={"metric": "accuracy"})
    config = build_config({"task": name, "metric": "accuracy"}, declaration=task)
    trials = [replace(trial, point={"x": 0.5}) for trial in study.trial_list]
    space = {"x": {"float": [0.0, 1.0]}}
    own = replace(
        study,
        settings={**study.settings, "config": config.as_dict(), "space": space, "data": ""},
        objective=config.objective,
        trial_list=trials,
    )
    train, tune, _ = describe_commands(own)
    for command in (train, tune):
        assert f"--task {name}" in command
    assert cli.main([*shlex.split(train)[1:], "--num-workers", "0"]) == 0


def test_the_command_trains_with_the_values_that_a_function_was_given(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("typed.py").write_text(
        "import json\n"
        "from pathlib import Path\n"
        "def objective(config):\n"
        "    Path('seen.json').write_text(json.dumps(config))\n"
        "    return {'accuracy': 1.0}\n"
    )
    name = "typed.py:objective"
    TASKS.trust(name)
    given = {"code": "01", "sizes": [1, "2"], "none": None, "flag": "true", "metric": "accuracy"}
    space = {"x": Choice("007", "7")}
    task = declare_task(name, space=space, config=given)
    config = build_config({"task": name}, given, declaration=task)
    asked = {"config": config.as_dict(), "space": format_space(space), "data": ""}
    own = replace(
        study,
        settings={**study.settings, **asked},
        objective=config.objective,
        trial_list=[replace(trial, point={"x": "007"}) for trial in study.trial_list],
    )
    train, _, _ = describe_commands(own)
    assert cli.main([*shlex.split(train)[1:], "--num-workers", "0"]) == 0
    seen = json.loads(Path("seen.json").read_text())
    expected = {**given, "x": "007"}
    del expected["metric"]
    assert {key: seen[key] for key in expected} == expected


def test_durations_leave_out_pauses(tmp_path: Path) -> None:
    study = write_study(tmp_path)
    whole = study.duration
    paused = replace(study, pauses=[(study.end_time - 2.0, study.end_time - 1.0)])
    assert paused.duration == pytest.approx(whole - 1.0)


def test_a_percentage_is_one_whatever_its_type() -> None:
    metric = Metric("accuracy", "max", "percent")
    assert metric.show(1) == metric.show(1.0) == "100.0%"


def test_a_functions_own_keys_are_in_the_commands(tmp_path: Path) -> None:
    def function(config: dict[str, float]) -> dict[str, float]:
        return {"loss": config["rate"] * config["size"]}

    register_task("test:sized", function)
    given = {"metric": "loss", "size": 5}
    task = declare_task("test:sized", space={"rate": Float(0.0, 1.0)}, config=given)
    config = build_config({"task": "test:sized"}, given, declaration=task)
    assert list_changes(config)["size"] == 5
