"""The report without a browser: its numbers equal the tables, and texts are escaped."""

import csv
import io
import json
import math
import random
import re
import runpy
import shlex
import warnings
from argparse import Namespace
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from helpers.builders import EVIL, write_study
from helpers.fronts import write_front

from raytune_yesno import cli
from raytune_yesno.commands.report import run_report
from raytune_yesno.config import build_config
from raytune_yesno.errors import InputError
from raytune_yesno.metrics import Metric
from raytune_yesno.report import write_report
from raytune_yesno.report.axes import build_axes
from raytune_yesno.report.best_so_far import trace_best
from raytune_yesno.report.early_stopping import measure_early_stopping
from raytune_yesno.report.importance import MIN_TRIALS, Importance, measure_importance
from raytune_yesno.report.leaderboard import format_leaderboard, format_leaderboards
from raytune_yesno.report.plot_data import build_payload, embed
from raytune_yesno.report.sentences import (
    describe_commands,
    describe_state,
    describe_test,
    describe_test_briefly,
)
from raytune_yesno.report.study_groups import MIN_REPEATS, Group, compare_groups, group_studies
from raytune_yesno.report.timeline import build_timeline
from raytune_yesno.study import Study, load, load_all
from raytune_yesno.study.store import StudyStore
from raytune_yesno.text import WIDTH


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    return write_study(tmp_path_factory.mktemp("report") / "study")


def read_payload(page: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert found
    payload: dict[str, Any] = json.loads(found[1])
    return payload


class TestNumbers:
    def test_of_the_page_are_those_of_the_tables(self, study: Study, tmp_path: Path) -> None:
        report = write_report([study], tmp_path)
        shown = read_payload(report.html.read_text())["studies"][0]
        table = study.trials
        assert shown["number"] == table["trial"].tolist()
        assert shown["value"] == table["valid_loss"].tolist()
        (wer, *_) = shown["others"]
        assert wer == {"name": "valid_wer", "values": table["valid_wer"].tolist()}
        assert shown["epochs"] == table["epochs"].tolist()
        assert shown["seconds"] == pytest.approx(table["seconds"].tolist(), rel=1e-4)
        for axis, column in zip(shown["axes"], shown["points"], strict=True):
            values = table[f"config.{axis['name']}"].tolist()
            if axis["kind"] == "choice":
                column = [shown["choices"][axis["name"]][option] for option in column]
            assert column == values
        curves = study.epochs.groupby("trial")["valid_loss"].apply(list)
        for number, (curve, *_) in zip(shown["number"], shown["curves"], strict=True):
            assert curve == pytest.approx(curves[number], rel=1e-4)
        assert study.best is not None
        assert shown["number"][shown["best"]] == study.best.number
        assert f"<b>{study.best.metrics['valid_loss']:.4g}</b>" in report.html.read_text()

    def test_of_the_file_are_those_of_the_table(self, study: Study, tmp_path: Path) -> None:
        rows = list(csv.DictReader(io.StringIO(write_report([study], tmp_path).csv.read_text())))
        assert [float(row["valid_loss"]) for row in rows] == study.trials["valid_loss"].tolist()
        assert rows[1]["error"] == "OSError: no room"

    def test_of_several_studies_are_in_one_file(self, study: Study, tmp_path: Path) -> None:
        other = write_study(tmp_path / "other", 4)
        rows = list(
            csv.DictReader(io.StringIO(write_report([study, other], tmp_path).csv.read_text()))
        )
        assert [row["study"] for row in rows] == ["study"] * 30 + ["other"] * 4

    def test_of_the_best_so_far_end_with_the_best(self, study: Study) -> None:
        assert study.best is not None
        for curve in trace_best(study).values():
            values = [value for _, value in curve]
            assert values == sorted(values, reverse=True)
            assert values[-1] == study.best.metrics["valid_loss"]
        ends = {kind: curve[-1][0] for kind, curve in trace_best(study).items()}
        assert ends["trials"] == 30
        assert ends["epochs"] <= len(study.epochs)

    def test_of_the_rungs(self, study: Study) -> None:
        spent = measure_early_stopping(study)
        # A trial that failed was not stopped, and saved nothing.
        failed = len(study.trial_list[1].epochs)
        full = 29 * 9 + failed
        assert (spent.epochs, spent.full_epochs, spent.longest) == (len(study.epochs), full, 9)
        (rung,) = spent.rungs
        stopped = int((study.trials["status"] == "stopped").sum())
        assert (rung.epoch, rung.reached, rung.stopped) == (3, 30, stopped)
        assert rung.agreement == pytest.approx(1)  # the order never changes in this study
        at_rung = study.epochs[study.epochs["epoch"] == 3]["valid_loss"]
        assert rung.best == at_rung.min()

    def test_of_the_timeline_add_up_to_the_seconds_of_the_epochs(self, study: Study) -> None:
        slots, spans = build_timeline(study)
        assert len(slots) == 2
        assert [trial for _, trial, *_ in sorted(spans, key=lambda s: s[1])] == list(range(30))
        assert sum(end - start for _, _, start, end, _ in spans) == pytest.approx(len(study.epochs))


def test_a_long_curve_keeps_its_ends_and_its_best(tmp_path: Path) -> None:
    store = StudyStore(tmp_path)
    store.append("study", time=0.0, slots=1)
    store.append("asked", trial=0, point={})
    for epoch in range(1, 2001):
        store.append(
            "epoch", trial=0, epoch=epoch, valid_loss=abs(epoch - 777) + 1.0, seconds=1.0,
            host="", pid=0, began=float(epoch), ended=epoch + 1.0,
        )  # fmt: skip
    shown = build_payload([load(tmp_path)], ["a"], [], [()])["studies"][0]
    values, epochs = shown["curves"][0]
    assert (epochs[0], epochs[-1]) == (1, 2000)
    assert 777 in epochs
    assert len(values) == len(epochs) <= 101


class TestEscaping:
    def test_text_from_users_is_shown_and_not_run(self, tmp_path: Path) -> None:
        store = StudyStore(tmp_path / EVIL.replace("/", "_"))
        evil = {EVIL: EVIL}
        store.append("study", time=0.0, slots=1, data=EVIL, corpus={"source": EVIL}, search=EVIL,
                     scheduler="{{ data }}{% raw %}", config={"seed": 0},
                     versions=evil)  # fmt: skip
        for number in range(2):
            store.append("asked", trial=number, point={EVIL: f"{EVIL}{number}", "x": {"y": EVIL}})
        store.append("ended", trial=0, status="failed", error=EVIL)
        store.append(
            "epoch", trial=1, epoch=1, valid_loss=1.0, seconds=1.0, host=EVIL, pid=0, began=1.0,
            ended=2.0,
        )  # fmt: skip
        store.append("ended", trial=1, status="done")
        with store.path.open("a") as file:
            file.write(EVIL)
        page = write_report([load(store.path.parent)], tmp_path).html.read_text()
        assert page.count("<script") == 2  # the data and the code
        assert page.count("</script>") == 2
        assert "<img" not in page
        assert "&lt;/script&gt;" in page
        assert "{{ data }}{% raw %}" in page
        assert read_payload(page)["studies"][0]["errors"] == {"0": EVIL}

    def test_a_lone_surrogate_is_escaped(self, tmp_path: Path) -> None:
        store = StudyStore(tmp_path)
        store.append("study", time=0.0)
        store.append("asked", trial=0, point={"a": "\ud800"})
        store.append("ended", trial=0, status="failed", error="\udfff")
        report = write_report([load(tmp_path)], tmp_path)
        assert report.csv.is_file()
        assert read_payload(report.html.read_text())["studies"][0]["errors"] == {"0": r"\udfff"}

    def test_json_cannot_end_its_element(self) -> None:
        text = embed({"</script>": "<!-- & \u2028"})
        assert not re.search("[<>&\u2028]", text)
        assert json.loads(text) == {"</script>": "<!-- & \u2028"}

    def test_the_page_loads_nothing(self, study: Study, tmp_path: Path) -> None:
        page = write_report([study], tmp_path).html.read_text()
        assert not re.search(r"""(src|href)=["']?(https?:)?//""", page)
        assert "default-src 'none'" in page


class TestImportance:
    @pytest.fixture(scope="class")
    def found(self, study: Study) -> Importance:
        return measure_importance(study)

    def test_is_the_same_again(self, study: Study, found: Importance) -> None:
        assert measure_importance(study) == found

    def test_finds_the_hyperparameter_that_mattered(self, study: Study, found: Importance) -> None:
        assert not found.refused
        assert found.names[0] == "learning_rate"
        assert found.means[0] > 5 * max(found.means[1:])
        assert found.num_trials == len(study.ranking) == 29
        assert found.score > 0.4 > 2 * found.score_error

    def test_is_refused_for_few_trials(self, tmp_path: Path) -> None:
        found = measure_importance(write_study(tmp_path, 5))
        assert found.refused.startswith("only 4 trials")
        assert f"at least {MIN_TRIALS}" in found.refused

    def test_is_refused_if_nothing_can_be_predicted(self, tmp_path: Path) -> None:
        folder = tmp_path / "noise"
        write_study(folder, 24)
        lines = []
        draw = random.Random(1)
        for line in (folder / "study.jsonl").read_text().splitlines():
            event = json.loads(line)
            if event["event"] == "epoch":
                event["valid_loss"] = draw.random()
            lines.append(json.dumps(event))
        (folder / "study.jsonl").write_text("\n".join(lines) + "\n")
        assert "chance" in measure_importance(load(folder)).refused

    def test_is_refused_if_nothing_was_varied(self, tmp_path: Path) -> None:
        StudyStore(tmp_path).append("study", time=0.0)
        assert "varied" in measure_importance(load(tmp_path)).refused


class TestAxes:
    def test_have_the_scales_of_the_space(self, study: Study) -> None:
        kinds = {axis.name: (axis.kind, axis.whole) for axis in build_axes(study)}
        assert kinds == {
            "learning_rate": ("log", False),
            "dropout": ("linear", False),
            "hidden_units": ("linear", True),
            "channels": ("choice", False),
        }

    def test_are_guessed_without_a_space(self, study: Study, tmp_path: Path) -> None:
        store = StudyStore(tmp_path)
        store.append("study", time=0.0)
        for number in range(3):
            store.append("asked", trial=number, point={
                "rate": 10.0**-number, "depth": number, "act": "ab"[number % 2], "same": 1,
                "flag": number > 1,
            })  # fmt: skip
        kinds = {axis.name: axis.kind for axis in build_axes(load(tmp_path))}
        assert kinds == {"rate": "log", "depth": "linear", "act": "choice", "flag": "choice"}


class TestCompare:
    def test_studies_that_differ_only_in_the_seed_are_repeats(self, tmp_path: Path) -> None:
        for search in ("random", "tpe"):
            for seed in (0, 1):
                write_study(tmp_path / f"{search}{seed}", 4, search=search, seed=seed)
        studies = load_all(sorted(tmp_path.iterdir()))
        groups = group_studies(studies)
        assert [(g.label, g.members) for g in groups] == [
            ("random + asha", (0, 1)),
            ("tpe + asha", (2, 3)),
        ]
        page = write_report(studies, tmp_path / "out").html.read_text()
        assert '<section id="compare">' in page
        assert "are equal" in page  # the studies of both searches have the same results
        assert "comparable" not in page

    def test_studies_of_different_corpora_are_not_repeats(
        self, study: Study, tmp_path: Path
    ) -> None:
        other = replace(study, settings={**study.settings, "corpus": {"fingerprint": "beef"}})
        assert len(group_studies([study, other])) == 2
        page = write_report([study, other], tmp_path).html.read_text()
        assert re.search("2 different sets of data.* not comparable", page)

    def test_a_difference_has_a_p_value(self) -> None:
        groups = [
            Group("a", (0, 1, 2, 3, 4), (1.0, 1.1, 1.15, 1.2, 1.3)),
            Group("b", (5, 6, 7, 8, 9), (2.0, 2.1, 2.15, 2.2, 2.3)),
            Group("alone", (10,), (0.0,)),
        ]
        (difference,) = compare_groups(groups)
        assert difference.difference == pytest.approx(-1)
        assert difference.p == pytest.approx(2 / 252)  # 2 of 70 assignments are as extreme
        assert difference.min_p == pytest.approx(2 / 252)
        assert groups[2].interval is None
        low, high = groups[0].interval or (0, 0)
        assert low < 1.15 < high

    def test_losses_are_compared_by_factors(self) -> None:
        bests = (0.1, 0.15, 0.2, 0.3, 8.0)
        groups = [
            Group("a", (0, 1, 2, 3, 4), bests, log=True),
            Group("b", (5, 6, 7, 8, 9), tuple(2 * best for best in bests), log=True),
        ]
        assert groups[0].mean == pytest.approx(math.prod(bests) ** (1 / 5))
        low, high = groups[0].interval or (0, 0)
        assert 0 < low < 0.4 < high
        (difference,) = compare_groups(groups)
        assert str(difference) == "× 0.5"

    def test_values_that_may_be_zero_are_compared_unscaled(self, study: Study) -> None:
        assert [group.log for group in group_studies([study])] == [True]
        trials = [
            replace(trial, epochs=[{**epoch, "valid_loss": 0.0} for epoch in trial.epochs])
            for trial in study.trial_list
        ]
        (group,) = group_studies([replace(study, trial_list=trials)])
        assert (group.log, group.mean) == (False, 0.0)


class TestLeaderboard:
    def test_fits_the_terminal(self, study: Study, tmp_path: Path) -> None:
        text = format_leaderboard(study, order=["dropout"])
        head = text.splitlines()[1].split()
        assert head[:6] == ["trial", "status", "valid_loss", "wer", "epochs", "dropout"]
        first = text.splitlines()[2].split()
        assert study.best is not None
        assert first[0] == str(study.best.number)
        assert first[2] == f"{study.best.metrics['valid_loss']:.4g}"
        both = format_leaderboards([study, write_study(tmp_path / ("long" * 30), 3)])
        assert all(len(line) <= WIDTH for line in [*text.splitlines(), *both.splitlines()])

    def test_shows_no_control_characters(self, tmp_path: Path) -> None:
        store = StudyStore(tmp_path)
        store.append("study", time=0.0, search="\x1b[31m")
        assert "\x1b" not in format_leaderboard(load(tmp_path))

    def test_of_an_empty_study_says_so(self, tmp_path: Path) -> None:
        StudyStore(tmp_path).append("study", time=0.0)
        assert "no trial has a result" in format_leaderboard(load(tmp_path))


class TestTexts:
    def test_the_test_figure_has_an_interval(self, study: Study) -> None:
        text = describe_test(study.refit, "yesno")
        assert text.startswith("word error rate 0.42%: 1 of 240 words (95 % interval")
        assert describe_test(None) == describe_test({"test": {}}) == ""

    def test_figures_of_the_test_have_the_form_of_the_metrics(self, study: Study) -> None:
        metrics = (Metric("valid_wer", format="percent", label="wer"),)
        assert describe_test(study.refit, "", metrics).startswith("wer 0.4%, words 240")
        assert describe_test_briefly(study.refit, metrics) == "wer 0.4%"
        assert describe_test_briefly({"test": {"size": 2.5}}) == "size 2.5"

    def test_a_warm_start_is_shown(self, study: Study, tmp_path: Path) -> None:
        known = {"observations": [{}, {}], "used": {}, "left_out": {}}
        study = replace(study, settings={**study.settings, "warm_start": known})
        page = write_report([study], tmp_path).html.read_text()
        assert "<dt>warm start</dt><dd>2 results" in page
        assert "--warm-start STUDY…" in page

    def test_an_early_end_is_explained(self, study: Study) -> None:
        assert "no room" in describe_state(replace(study, reason="no room"))

    def test_the_commands_repeat_the_study(self, study: Study, tmp_path: Path) -> None:
        from raytune_yesno.commands.settings import build_plan, read_settings

        train, tune, file = describe_commands(study)
        (tmp_path / "study.yaml").write_text(file)
        words = tune.replace("study.yaml", str(tmp_path / "study.yaml")).split()[1:]
        options = cli.build_parser().parse_args(words)
        plan = build_plan(read_settings(options), options)
        assert plan.as_dict()["space"] == study.settings["space"]
        assert (plan.search, plan.num_trials, plan.config.epochs) == ("random", 30, 9)
        options = cli.build_parser().parse_args(shlex.split(train)[1:])
        config = read_settings(options)["config"]
        assert study.best is not None
        assert float(config["learning_rate"]) == study.best.point["learning_rate"]

    @pytest.mark.parametrize(
        ("base", "point"),
        [
            ({"model": "mlp", "hidden_layers": 1, "learning_rate": 2e-3}, {}),
            ({}, {"model": "mlp"}),
            ({"task": "sine", "epochs": 16, "batch_size": 2, "hidden_layers": 1}, {}),
            ({"num_workers": "1:4", "channels": [4], "seed": 7}, {"dropout": 0.1}),
        ],
    )
    def test_the_commands_give_the_exact_config_whatever_its_defaults(
        self, base: dict[str, Any], point: dict[str, Any], study: Study, tmp_path: Path
    ) -> None:
        from raytune_yesno.commands.settings import build_plan, read_settings

        asked = build_config(base)
        assert study.best is not None
        best = replace(study.best, point=point, planned=[])
        space = {"dropout": {"float": [0.0, 0.5]}}
        asked_so = {**study.settings, "config": asked.as_dict(), "space": space}
        train, _, file = describe_commands(replace(study, settings=asked_so, trial_list=[best]))
        options = cli.build_parser().parse_args(shlex.split(train)[1:])
        assert build_config(read_settings(options)["config"]) == build_config(
            asked.as_dict(), point
        )
        (tmp_path / "study.yaml").write_text(file)
        words = ["tune", "--config", str(tmp_path / "study.yaml")]
        options = cli.build_parser().parse_args(words)
        assert build_plan(read_settings(options), options).config == asked

    def test_the_point_is_that_of_the_best_epoch_if_it_changed_later(
        self, study: Study, tmp_path: Path
    ) -> None:
        """Population-based training changes the point during a trial."""
        best = study.best
        assert best is not None
        assert best.best_epoch is not None
        change = {"epoch": best.best_epoch["epoch"], "before": best.point}
        moved = replace(best, point={**best.point, "dropout": 0.49987}, mutations=[change])
        others = [trial for trial in study.trial_list if trial is not best]
        study = replace(study, trial_list=[moved, *others])
        page = write_report([study], tmp_path).html.read_text()
        assert "0.49987" not in page + describe_commands(study)[0]
        assert 0.49987 not in study.trials["config.dropout"].tolist()


class TestCommand:
    def options(self, *studies: Path, **given: Any) -> Namespace:
        base = {"out": None, "metric": None, "mode": None, "top": 10, "watch": False}
        base |= {"exports": [], "epoch_exports": []}
        return Namespace(studies=[str(path) for path in studies], **{**base, **given})

    def test_json_has_its_keys(self, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
        study = write_study(tmp_path / "study")
        assert cli.main(["report", str(study.path), "--json"]) == 0
        out, err = capfd.readouterr()
        result = json.loads(out.splitlines()[-1])
        assert result["trials"] == 30
        assert study.best is not None
        assert result["best"]["trial"] == study.best.number
        assert result["best"]["metrics"] == study.best.metrics
        assert result["best"]["config"]["epochs"] == 9
        assert result["html"] == str(tmp_path / "study/report.html")
        assert result["csv"] == str(tmp_path / "study/trials.csv")
        assert Path(result["html"]).is_file()
        assert Path(result["csv"]).is_file()
        assert re.search("trial +status +valid_loss", err)

    def test_a_study_given_twice_is_no_repeat(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        study = write_study(tmp_path / "study", 4)
        monkeypatch.chdir(tmp_path)
        notes: list[str] = []
        (tmp_path / "link").symlink_to("study")
        paths = (study.path, Path("study"), tmp_path / "link")
        result = run_report(self.options(*paths), print, notes.append)
        assert result["trials"] == 4
        assert [line.partition(":")[0] for line in notes] == ["study", f"{tmp_path}/link"]

    def test_links_that_lead_nowhere_are_no_study(self, tmp_path: Path) -> None:
        (tmp_path / "loop").symlink_to("loop")
        with pytest.raises(InputError, match="loop: no study here"):
            run_report(self.options(tmp_path / "loop"), print, print)

    @pytest.mark.parametrize("ended", [True, False])
    def test_an_empty_study_is_not_an_error(self, tmp_path: Path, ended: bool) -> None:
        store = StudyStore(tmp_path)
        store.append("study", time=0.0, trials=3)
        if ended:
            store.append("searched")
        result = run_report(self.options(tmp_path), print, print)
        assert (result["trials"], result["best"]) == (0, None)

    def test_watching_lasts_from_before_the_start_to_the_refit(self, tmp_path: Path) -> None:
        waits: list[float] = []
        page = tmp_path / "report.html"

        def wait(seconds: float) -> None:
            waits.append(seconds)
            assert len(waits) <= 4
            match len(waits):
                case 1:
                    assert "waiting" in notes[0]
                    write_study(tmp_path, 4, ended=False)
                case 3:
                    StudyStore(tmp_path).append("searched")
                case 4:
                    StudyStore(tmp_path).append("refitted", checkpoint="", epochs=1, trial=0)
            if len(waits) > 1:
                assert 'http-equiv="refresh"' in page.read_text()

        printed: list[str] = []
        notes: list[str] = []
        run_report(self.options(tmp_path, watch=True), printed.append, notes.append, wait)
        assert len(waits) == 4
        # An unchanged study is not printed again.
        assert sum(line.startswith("page:") for line in printed) == 3
        assert 'http-equiv="refresh"' not in page.read_text()

    def test_damaged_lines_are_reported(self, tmp_path: Path) -> None:
        study = write_study(tmp_path, 2)
        with (study.path / "study.jsonl").open("a") as file:
            file.write("{half")
        notes: list[str] = []
        result = run_report(self.options(tmp_path), print, notes.append)
        assert result["left_out"] == 1
        (line,) = re.findall(r"study\.jsonl:\d+", notes[0])
        assert line in (tmp_path / "report.html").read_text()

    def test_an_unknown_metric_gets_a_suggestion(self, tmp_path: Path) -> None:
        write_study(tmp_path, 2)
        with pytest.raises(InputError, match="valid_wer"):
            run_report(self.options(tmp_path, metric="valid_were"), print, print)

    def test_a_folder_that_cannot_be_written_is_refused(self, tmp_path: Path) -> None:
        write_study(tmp_path, 2)
        (tmp_path / "file").write_text("")
        with pytest.raises(InputError, match="file"):
            run_report(self.options(tmp_path, out=str(tmp_path / "file")), print, print)


def test_the_worked_example_runs(
    study: Study,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    script = Path(__file__).parents[2] / "scripts" / "analyze_study.py"
    other = write_study(tmp_path / "other", 8, seed=1)  # too few for a forest of its own
    picture = tmp_path / "best.png"
    words = [script, study.path, other.path, "--picture", picture]
    monkeypatch.setattr("sys.argv", list(map(str, words)))
    runpy.run_path(str(script), run_name="__main__")
    shown = capsys.readouterr().out
    assert study.best is not None
    assert "## The best of 38 trials" in shown
    assert f"| {study.best.number} | {study.best.metrics['valid_loss']:.4g} |" in shown
    assert "| random + asha, 30 trials | 1 |" in shown
    assert "learning_rate" in shown
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_the_worked_example_counts_no_repeats_and_no_trial_beyond_a_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    results = ((-0.5, 10), (-0.4, 1000), (-0.6, 10))  # on a logarithmic scale nothing is visible
    write_front(tmp_path / "study", results, repeats=[((-0.1, 10), 0)], limits=["size<=100"])
    words = ["analyze_study.py", tmp_path / "study", "--picture", tmp_path / "best.png"]
    monkeypatch.setattr("sys.argv", list(map(str, words)))
    script = Path(__file__).parents[2] / "scripts" / "analyze_study.py"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        runpy.run_path(str(script), run_name="__main__")
    shown = capsys.readouterr().out
    assert re.findall(r"^\| study \| (\d)", shown, re.MULTILINE) == ["0", "2"]
    assert f"{MIN_REPEATS} studies" in shown
