"""Stop conditions and warm starts, without a cluster."""

from pathlib import Path
from typing import Any

import pytest

from raytune_yesno.cli import build_parser, main
from raytune_yesno.commands.settings import build_plan, read_settings
from raytune_yesno.config import build_config
from raytune_yesno.errors import InputError
from raytune_yesno.metrics import LEGACY_OBJECTIVE
from raytune_yesno.schedulers.asynchronous import FIFO
from raytune_yesno.search import ALGORITHMS
from raytune_yesno.space import Choice, Float, Space
from raytune_yesno.study import Study, Trial, load
from raytune_yesno.study.store import StudyStore, read_events
from raytune_yesno.tuning import warm_start
from raytune_yesno.tuning.plan import Plan
from raytune_yesno.tuning.plan_checks import check_new_plan, check_plan
from raytune_yesno.tuning.searcher import StudySearcher
from raytune_yesno.tuning.stop_conditions import OrderedStopMonitor, StopConditions, StopMonitor

OBJECTIVE = LEGACY_OBJECTIVE
LEARNING = [name for name, entry in ALGORITHMS.items() if entry.learns]
SPACE: Space = {"learning_rate": Float(1e-4, 1e-2, log=True), "batch_size": Choice(2, 4)}


class TestConditions:
    @pytest.mark.parametrize(
        ("condition", "message"),
        [
            ({"time_budget": 0.0}, "time_budget: 0.0 s must be finite and above 0"),
            ({"time_budget": float("nan")}, "must be finite and above 0"),
            ({"patience": 0}, "patience: 0 must be at least 1"),
            ({"max_failures": -1}, "max_failures: -1 must be at least 0"),
            ({"target": "war=0"}, "unknown metric 'war'; did you mean 'wer'"),
            ({"target": "wer"}, "'wer' is not METRIC=VALUE"),
            ({"target": "wer=none"}, "'wer=none' is not METRIC=VALUE"),
            ({"target": "wer=inf"}, "'wer=inf' is not METRIC=VALUE"),
        ],
    )
    def test_without_sense_are_refused(self, condition: dict[str, Any], message: str) -> None:
        plan = Plan(build_config({}), SPACE, stop=StopConditions(**condition))
        with pytest.raises(InputError, match=message):
            check_plan(plan)

    def test_unset_never_end_a_search(self) -> None:
        watch = StopMonitor(StopConditions(), OBJECTIVE)
        for trial in range(100):
            watch.epoch(trial, {"valid_loss": 0.0, "valid_wer": 0.0})
            watch.ended(trial, "failed")
            assert watch.reason is None

    def test_end_it_when_the_time_is_up(self) -> None:
        watch = StopMonitor(StopConditions(time_budget=1e-9), OBJECTIVE)
        while watch.reason is None:
            pass
        assert watch.reason == "its time budget of 1e-09 s is spent"

    @pytest.mark.parametrize(
        ("target", "reached"), [("wer=0.1", 3), ("valid_loss=0.5", 2), ("train_loss=0.4", 4)]
    )
    def test_end_it_at_the_target(self, target: str, reached: int) -> None:
        watch = StopMonitor(StopConditions(target=target), OBJECTIVE)
        curve = [(1, 0.9, 0.9, 0.5), (2, 0.9, 0.5, 0.4), (3, 0.8, 0.4, 0.1), (4, 0.4, 0.6, 0.2)]
        ended = []
        for epoch, train_loss, valid_loss, wer in curve:
            watch.epoch(0, {"train_loss": train_loss, "valid_loss": valid_loss, "valid_wer": wer})
            if watch.reason:
                ended.append(epoch)
        assert ended[0] == reached

    def test_take_what_is_no_number_for_no_success(self) -> None:
        watch = StopMonitor(StopConditions(target="loss=9"), OBJECTIVE)
        watch.epoch(0, {"valid_loss": None})
        assert watch.reason is None

    def test_end_it_when_patience_is_over(self) -> None:
        watch = StopMonitor(StopConditions(patience=2), OBJECTIVE)
        watch.epoch(0, {"valid_loss": 0.5})
        watch.epoch(1, {"valid_loss": 0.6})
        watch.ended(1, "done")
        watch.ended(
            0, "done"
        )  # the end of the best trial itself does not count against the patience
        assert watch.reason is None
        watch.epoch(2, {"valid_loss": 0.4})
        watch.ended(3, "stopped")
        assert watch.reason is None
        watch.ended(4, "diverged")
        assert watch.reason == "the last 2 to end brought no improvement"

    def test_end_it_when_too_many_fail(self) -> None:
        watch = StopMonitor(StopConditions(max_failures=1), OBJECTIVE)
        for trial, status in enumerate(("failed", "done", "diverged")):
            watch.ended(trial, status)
        assert watch.reason is None
        watch.ended(3, "failed")
        assert watch.reason == "2 trials failed, more than 1"

    @pytest.mark.parametrize("kind", [StopMonitor, OrderedStopMonitor])
    @pytest.mark.parametrize("patience", range(1, 6))
    def test_count_the_same_after_an_interruption(
        self, kind: type[StopMonitor], patience: int, tmp_path: Path
    ) -> None:
        """Trials without an epoch, and trials that wait before they end, keep their place."""
        store, conditions = StudyStore(tmp_path), StopConditions(patience=patience)
        live = kind(conditions, OBJECTIVE)
        store.listeners.append(live.listen)
        begin(store, trials=9)
        for number in range(6):
            store.append("asked", trial=number, point={})
        train(store, 1, 0.5)  # waits for others, and ends last
        train(store, 0, 0.6)
        store.append("ended", trial=0, status="done")
        store.append("ended", trial=2, status="failed")
        train(store, 3, 0.1)
        store.append("ended", trial=3, status="done")
        store.append("ended", trial=4, status="failed")
        store.append("ended", trial=1, status="stopped")
        replayed = kind(conditions, OBJECTIVE, load(tmp_path).trial_list)
        for monitor in (live, replayed):
            if isinstance(monitor, OrderedStopMonitor):
                monitor.find_reason(5)
        assert (replayed.since_best, replayed.failures) == (live.since_best, live.failures)
        assert (replayed.found, replayed.front) == (live.found, live.front)
        assert bool(live.found) == (patience <= (2 if kind is StopMonitor else 1))


@pytest.mark.parametrize("kind", [StopMonitor, OrderedStopMonitor])
@pytest.mark.parametrize(
    "change",
    [
        {"trials": 20},
        {"trials": 3, "retry": [2]},
        {"trials": 9, "space": {"dropout": {"float": [0.0, 0.5]}}},
    ],
)
@pytest.mark.parametrize("interrupted", [False, True])
def test_an_extended_search_counts_from_its_extension(
    kind: type[StopMonitor], change: dict[str, Any], interrupted: bool, tmp_path: Path
) -> None:
    store = StudyStore(tmp_path)
    conditions = StopConditions(patience=2, target="loss=0.1", max_failures=0)
    begin(store, trials=9)
    for number, loss in enumerate([0.1, 0.6, 0.7]):
        store.append("asked", trial=number, point={"dropout": 0.1})
        train(store, number, loss)
        store.append("ended", trial=number, status="failed" if number == 2 else "done")
    if "space" not in change:
        store.append("searched", reason="patience")
    store.append("resumed", slots=1, **change)
    store.append("asked", trial=3, point={"dropout": 0.1})
    train(store, 3, 0.2)
    store.append("ended", trial=3, status="done")
    if interrupted:
        store.append("resumed", slots=1, trials=change["trials"])
    study = load(tmp_path)
    monitor = kind(conditions, OBJECTIVE, study.trial_list, since=study.counts_from)

    def find(number: int) -> str | None:
        ordered = isinstance(monitor, OrderedStopMonitor)
        return monitor.find_reason(number) if ordered else monitor.reason

    assert [find(number) for number in range(5)] == [None] * 5
    assert monitor.since_best == 1
    monitor.epoch(4, {"epoch": 1, "valid_loss": 0.15})  # no improvement: 0.1 is known
    monitor.ended(4, "done")
    assert "no improvement" in (find(5) or "")


def test_a_search_that_had_not_ended_counts_from_its_beginning(tmp_path: Path) -> None:
    store = StudyStore(tmp_path)
    begin(store, trials=9)
    store.append("asked", trial=0, point={})
    store.append("ended", trial=0, status="failed")
    store.append("resumed", slots=1, trials=12)
    store.append("resumed", slots=1, trials=12, retry=[0])
    assert load(tmp_path).counts_from == 0
    store.append("final", points=[0], first=1, reason="patience")
    store.append("resumed", slots=1, trials=12)
    assert load(tmp_path).counts_from == 0  # the final round goes on
    extended = store.append("resumed", slots=1, trials=13)
    assert load(tmp_path).counts_from == extended["time"]


def begin(store: StudyStore, trials: int, **options: Any) -> None:
    plan = Plan(build_config({}), SPACE, trials=trials, **options)
    store.append("study", slots=1, data="synthetic", **plan.as_dict())


def train(store: StudyStore, trial: int, loss: float) -> None:
    about = {"host": "here", "pid": 1, "seconds": 0.1, "began": 1.0, "ended": 1.1}
    store.append("epoch", trial=trial, epoch=1, valid_loss=loss, **about)


def build_trial(number: int, losses: list[float], status: str = "done", **point: Any) -> Trial:
    epochs = [
        {"epoch": epoch, "valid_loss": loss, "seconds": 1.0, "ended": 10.0 * number + epoch}
        for epoch, loss in enumerate(losses, start=1)
    ]
    return Trial(number, {"learning_rate": 1e-3, "batch_size": 2, **point}, status, epochs)


def build_study(trials: list[Trial], **asked: Any) -> Study:
    return Study(Path("other"), {"time": 0.0, **asked}, trials, None, True, 9.0, [], [])


class TestWarmStart:
    def test_uses_the_points_that_fit_and_counts_the_rest(self) -> None:
        study = build_study(
            [
                build_trial(0, [0.5, 0.4], dropout=0.3),  # of a larger space
                build_trial(1, [0.6], batch_size=8),
                build_trial(2, [0.7], batch_size=8),
                build_trial(3, [], "failed"),
                build_trial(4, [0.2], "running"),
                build_trial(5, [0.8, 0.9], "stopped", batch_size=4),
            ]
        )
        known = warm_start.gather([study], SPACE, OBJECTIVE)
        assert known["used"] == {"other": 2}
        assert known["left_out"].pop("without a result") == 2
        ((reason, count),) = known["left_out"].items()
        assert reason.startswith("batch_size: 8 lies outside")
        assert count == 2
        seen = warm_start.build_observations(known, SPACE)
        assert [(one.number, one.loss, one.losses) for one in seen] == [
            (0, 0.4, (0.5, 0.4)),
            (1, 0.8, (0.8, 0.9)),
        ]
        assert "2 trials of other are used" in warm_start.describe(known)

    def test_without_any_is_an_error(self) -> None:
        with pytest.raises(InputError, match="no trial could be used"):
            warm_start.gather([build_study([])], SPACE, OBJECTIVE)

    @pytest.mark.parametrize("search", LEARNING)
    def test_is_known_to_the_search_and_trials_count_from_zero(
        self, search: str, tmp_path: Path
    ) -> None:
        others = [
            build_trial(number, [abs(rate - 3e-3)], learning_rate=rate)
            for number, rate in enumerate([2e-4, 5e-4, 1e-3, 2e-3, 3e-3, 4e-3, 6e-3, 9e-3] * 2)
        ]
        known = warm_start.gather([build_study(others)], SPACE, OBJECTIVE)
        plan = Plan(build_config({}), SPACE, search=search, trials=2, warm_start=known)
        check_plan(plan)
        searcher = StudySearcher(
            plan, StudyStore(tmp_path), [], StopMonitor(plan.stop, OBJECTIVE), FIFO()
        )
        launches = [searcher.suggest(name) for name in ("one", "two")]
        assert [launch["number"] for launch in launches if isinstance(launch, dict)] == [0, 1]
        assert searcher.in_flight == [0, 1]
        told = plan.build_algorithm().suggest(16, warm_start.build_observations(known, SPACE))
        assert isinstance(launches[0], dict)
        assert launches[0]["point"] == told

    @pytest.mark.parametrize("search", sorted({*ALGORITHMS} - {*LEARNING}))
    def test_is_refused_where_the_search_looks_at_no_result(self, search: str) -> None:
        known = {"observations": [{}], "used": {}, "left_out": {}}
        plan = Plan(build_config({}), SPACE, search=search, warm_start=known)
        with pytest.raises(InputError, match=f"search {search} does not use results"):
            check_plan(plan)


class TestExtending:
    @pytest.fixture
    def study(self, tmp_path: Path) -> Study:
        store = StudyStore(tmp_path)
        store.append("study", slots=1, data="synthetic", **Plan(build_config({}), SPACE).as_dict())
        store.append("asked", trial=0, point={"learning_rate": 1e-3, "batch_size": 2})
        store.append("ended", trial=0, status="done")
        return load(tmp_path)

    def test_counts_from_what_was_asked_for_or_had_begun(self, study: Study) -> None:
        plan = Plan.from_study(study)
        assert plan.extend(study, 3).num_trials == 32 + 3
        StudyStore(study.path).append("searched", reason="enough")
        stopped = load(study.path)
        assert stopped.reason == "enough"
        assert plan.extend(stopped, 3).num_trials == 1 + 3

    def test_is_recorded(self, study: Study) -> None:
        store = StudyStore(study.path)
        store.append("searched", reason="enough")
        store.append("refitted", checkpoint="somewhere")
        store.append("resumed", slots=1, trials=4, patience=7)
        longer = load(study.path)
        assert longer.settings["trials"] == 4
        assert Plan.from_study(longer).stop == StopConditions(patience=7)
        assert (longer.searched, longer.reason, longer.refit) == (False, None, None)
        assert read_events(study.path)[0][0]["trials"] == 32

    @pytest.mark.parametrize("add_trials", [0, -1])
    def test_by_nothing_is_refused(self, study: Study, add_trials: int) -> None:
        with pytest.raises(InputError, match="must be at least 1"):
            Plan.from_study(study).extend(study, add_trials)

    def test_beyond_what_the_search_has_is_refused(self, study: Study) -> None:
        plan = Plan(build_config({}), {"batch_size": Choice(2, 4)}, search="grid", trials=2)
        with pytest.raises(InputError, match=r"search grid has 2 points in all, not 2 \+ 1"):
            plan.extend(study, 1)


def test_a_copied_trials_point_is_that_of_its_best_epoch(tmp_path: Path) -> None:
    store = StudyStore(tmp_path)
    points = [{"learning_rate": rate} for rate in (0.1, 0.2, 0.3)]
    store.append("study", slots=1)
    store.append("asked", trial=0, point=points[0])
    where = {"seconds": 1.0, "host": "here", "pid": 1, "began": 0.0, "ended": 1.0}
    best = []
    for epoch, loss in enumerate([0.9, 0.8, 0.7, 0.6, 0.5], start=1):
        store.append("epoch", trial=0, epoch=epoch, valid_loss=loss, **where)
        (trial,) = load(tmp_path).trial_list
        best.append(trial.best_point["learning_rate"])
        if epoch in (2, 4):
            store.append(
                "mutated", trial=0, epoch=epoch, source=1, point=points[epoch // 2], checkpoint="c"
            )
            (trial,) = load(tmp_path).trial_list
            assert trial.point == points[epoch // 2]
            assert trial.checkpoint == ("c", epoch)
            assert trial.best_point["learning_rate"] == best[-1]
    assert best == [0.1, 0.1, 0.2, 0.2, 0.3]


class TestTheCommandLine:
    def plan(self, *words: str) -> Plan:
        options = build_parser().parse_args(["tune", "--data", "synthetic:10", *words])
        return build_plan(read_settings(options), options)

    def test_flags_win_over_settings(self, tmp_path: Path) -> None:
        file = tmp_path / "study.yaml"
        file.write_text("time_budget: 60\ntarget: wer=0\npatience: 5\nmax_failures: 2\n")
        plan = self.plan("--config", str(file), "--patience", "7", "--time-budget", "1.5")
        assert plan.stop == StopConditions(1.5, "wer=0", 7, 2)
        assert self.plan().stop == StopConditions()

    def test_a_searched_parameter_selects_the_network_that_has_it(self, tmp_path: Path) -> None:
        file = tmp_path / "space.yaml"
        file.write_text("channels: {choice: [[8, 16], [16, 32]]}\n")
        assert self.plan("--space", str(file)).config.as_dict()["model"] == "cnn"
        assert (
            self.plan("--set", "model=mlp", "--space", str(file)).config.as_dict()["model"] == "mlp"
        )
        assert self.plan().config.as_dict()["model"] == "tdnn"

    def test_hyperparameters_may_have_the_names_of_settings(self, tmp_path: Path) -> None:
        (tmp_path / "own.py").write_text(
            "def f(config):\n    return {'loss': config['patience']}\n"
        )
        file = tmp_path / "space.yaml"
        file.write_text("patience: {int: [1, 10]}\ndata: {choice: [a, b]}\n")
        words = ("--task", f"{tmp_path}/own.py:f", "--metric", "loss", "--space", str(file))
        options = build_parser().parse_args(["tune", *words])
        assert build_plan(read_settings(options), options).space.keys() == {"patience", "data"}

    def test_flags_win_over_the_file_for_a_function(self, tmp_path: Path) -> None:
        (tmp_path / "own.py").write_text("def f(config):\n    return {'f1': config['rate']}\n")
        file = tmp_path / "study.yaml"
        file.write_text("metric: accuracy\nconfig: {rate: 0.5}\nspace: {x: {int: [1, 2]}}\n")
        words = ("--task", f"{tmp_path}/own.py:f", "--config", str(file), "--metric", "f1")
        options = build_parser().parse_args(["tune", *words, "--mode", "max", "--set", "rate=1"])
        config = build_plan(read_settings(options), options).config
        assert (config.objective.metric.name, config.as_dict()["rate"]) == ("f1", 1)

    def test_points_are_the_trials_of_a_manual_search(self) -> None:
        plan = self.plan(
            "--set",
            "model=cnn",
            "--point",
            "channels=[16,32],dropout=0.1",
            "--point",
            "optimizer=adam",
        )
        points = [{"channels": [16, 32], "dropout": 0.1}, {"optimizer": "adam"}]
        algorithm = plan.build_algorithm()
        assert (plan.search, plan.num_trials) == ("manual", 2)
        assert [algorithm.suggest(number, []) for number in range(3)] == [*points, None]

    def test_more_trials_than_points_are_a_search_that_begins_with_them(self) -> None:
        point = ("--point", "dropout=0.1")
        plan = self.plan(*point, "--trials", "5")
        check_plan(plan)
        assert (plan.search, plan.num_trials, plan.known_points) == ("auto", 5, [{"dropout": 0.1}])
        assert self.plan(*point, "--trials", "1").search == "manual"
        assert self.plan(*point, "--trials", "5", "--search", "manual").num_trials == 1

    def test_another_search_tries_known_points_first(self, tmp_path: Path) -> None:
        file = tmp_path / "study.yaml"
        file.write_text("search: tpe\npoints: [{dropout: 0.25}]\n")
        plan = self.plan("--config", str(file), "--point", "learning_rate=1e-3")
        check_plan(plan)
        assert (plan.search, plan.num_trials) == ("tpe", 32)
        assert plan.known_points == [{"dropout": 0.25}, {"learning_rate": 0.001}]

    @pytest.mark.parametrize("searches", [(), ("--trials", "5")])
    def test_the_default_point_has_the_values_of_the_config(
        self, searches: tuple[str, ...], tmp_path: Path
    ) -> None:
        file = tmp_path / "study.yaml"
        file.write_text("points: [default, {dropout: 0.25}]\n")
        set_here = ("--set", "dropout=0.3")
        plans = (
            self.plan("--point", "default", "--point", "dropout=0.25", *set_here, *searches),
            self.plan("--config", str(file), *set_here, *searches),
        )
        for plan in plans:
            check_plan(plan)
            points = plan.known_points or plan.build_algorithm().points
            assert points[1] == {"dropout": 0.25}
            assert points[0].keys() == plan.space.keys()
            assert build_config(plan.config.as_dict(), points[0]) == plan.config
            assert points[0]["dropout"] == 0.3

    @pytest.mark.parametrize(
        ("words", "message"),
        [
            (("--point", "default", "--set", "dropout=0.9"), "point default: dropout: 0.9 lies"),
            (("--point", "learning_rate=9"), "point 0: learning_rate: 9.0 lies outside"),
            (("--point", "lerning_rate=9"), "--point: unknown key .* did you mean 'learning_rate'"),
            (("--point", "epochs=3"), "point 0: 'epochs' is not in the search space"),
            (("--point", "dropout=0", "--search", "grid"), "points: .*grid"),
            (("--point", "dropout=0.9", "--search", "tpe"), "point 0: dropout: 0.9 lies outside"),
            (
                (
                    "--point",
                    "dropout=0",
                )
                * 2
                + ("--search", "tpe", "--trials", "1"),
                "trials: .* 2 ",
            ),
        ],
    )
    def test_points_that_cannot_be_are_refused(self, words: Any, message: str) -> None:
        with pytest.raises(InputError, match=message):
            check_new_plan(self.plan(*words))

    def test_a_setting_of_another_kind_is_refused(self, tmp_path: Path) -> None:
        file = tmp_path / "study.yaml"
        file.write_text("time_budget: soon\n")
        with pytest.raises(InputError, match="time_budget takes a number, not 'soon'"):
            self.plan("--config", str(file))

    @pytest.mark.parametrize(
        ("words", "message"),
        [
            (("--add-trials", "3"), "--resume STUDY"),
            (("--target", "wer"), "target: 'wer' is not METRIC=VALUE"),
            (("--search", "grid", "--scheduler", "pbt"), "search grid with scheduler pbt: "),
            (("--search", "bohb", "--scheduler", "fifo"), "search bohb with scheduler fifo: "),
            (("--warm-start", "nowhere"), "nowhere: no study here"),
        ],
    )
    def test_what_cannot_be_is_refused_before_anything_starts(
        self,
        words: tuple[str, ...],
        message: str,
        tmp_path: Path,
        capfd: pytest.CaptureFixture[str],
    ) -> None:
        out = tmp_path / "new"
        assert main(["tune", "--data", "synthetic:10", "--out", str(out), *words]) == 2
        assert message in capfd.readouterr().err
        assert not out.exists()
