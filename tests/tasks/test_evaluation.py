from collections.abc import Sequence

import numpy as np
import pytest
import torch

from raytune_yesno.checkpoint import Checkpoint
from raytune_yesno.config import build_config
from raytune_yesno.errors import InputError
from raytune_yesno.tasks.speech import evaluation
from raytune_yesno.tasks.speech.decode import ErrorCount, Word
from raytune_yesno.tasks.speech.evaluation import Reading
from raytune_yesno.tasks.speech.evaluation.conditions import UNSEEN
from raytune_yesno.tasks.speech.networks import build_network
from raytune_yesno.tasks.speech.noise import LADDER
from raytune_yesno.tasks.speech.recognizer import Recognizer
from raytune_yesno.tasks.speech.settings import as_speech
from raytune_yesno.tasks.speech.synthetic import synthesize

CORPUS = synthesize(10)


def build_recognizer(min_confidence: float = 0.0, **settings: object) -> Recognizer:
    """Return a recogniser whose network knows nothing, and so hears much."""
    config = as_speech(build_config({"channels": (4, 8), "hidden_units": 16, **settings}))
    torch.manual_seed(1)
    state_dict = build_network(config).state_dict()
    last = [name for name in state_dict if name.endswith("weight")][-1]
    state_dict[last] *= 30  # so that no class always wins
    checkpoint = Checkpoint(config, {}, 1, [{"epoch": 1}], False, state_dict)
    return Recognizer(checkpoint, min_confidence)


def reading(reference: Sequence[int], *heard: tuple[int, float]) -> Reading:
    words = [
        Word(label, 4 * n, 4 * n + 1, confidence) for n, (label, confidence) in enumerate(heard)
    ]
    return Reading(tuple(reference), tuple(words))


class TestInterval:
    def test_holds_the_rate(self) -> None:
        counts = [ErrorCount(8, substitutions=n % 3) for n in range(12)]
        low, high = evaluation.wer_interval(counts)
        assert 0 < low < 12 / 96 < high < 0.3

    def test_without_errors_is_wilsons(self) -> None:
        assert evaluation.wer_interval([ErrorCount(8)] * 30) == [0, pytest.approx(0.0158, abs=1e-4)]

    def test_is_wider_where_errors_come_together(self) -> None:
        spread = [ErrorCount(8, deletions=1)] * 24
        together = [ErrorCount(8, deletions=8)] * 3 + [ErrorCount(8)] * 21
        (low, high), (lower, higher) = map(evaluation.wer_interval, (spread, together))
        assert lower < low
        assert higher > high

    def test_may_go_beyond_one(self) -> None:
        low, high = evaluation.wer_interval([ErrorCount(1, insertions=n) for n in range(10)])
        assert 1 < low < 4.5 < high

    def test_of_nothing_says_nothing(self) -> None:
        assert evaluation.wer_interval([]) == [0, 1]

    @pytest.mark.parametrize("rate", [0.01, 0.2])
    def test_covers_the_truth(self, rate: float) -> None:
        random = np.random.default_rng(3)
        covered = 0
        for _ in range(100):
            shares = random.beta(9 * rate, 9 * (1 - rate), 30)  # correlation 0.1
            counts = [ErrorCount(8, deletions=int(random.binomial(8, share))) for share in shares]
            low, high = evaluation.wer_interval(counts)
            covered += low <= rate <= high
        assert covered >= 85


class TestAlarms:
    def test_none_leave_an_upper_bound(self) -> None:
        rate = evaluation.alarm_rate(0, 600)
        assert rate["per_hour"] == 0
        assert rate["per_hour_interval"] == [0, pytest.approx(6 * 3.689, abs=0.01)]

    def test_interval_is_poissons(self) -> None:
        low, high = evaluation.alarm_rate(10, 3600)["per_hour_interval"]
        assert (low, high) == (pytest.approx(4.795, abs=1e-3), pytest.approx(18.39, abs=1e-2))

    def test_are_counted_by_sound(self) -> None:
        figures = evaluation.measure_wordless(build_recognizer(), 5.0)
        assert [row["sound"] for row in figures["sounds"]] == [*evaluation.WORDLESS]
        assert figures["alarms"] == sum(row["alarms"] for row in figures["sounds"]) > 0
        assert figures["hours"] == pytest.approx(5 * len(evaluation.WORDLESS) / 3600)

    def test_are_none_above_the_highest_threshold(self) -> None:
        figures = evaluation.measure_wordless(build_recognizer(min_confidence=1.0), 5.0)
        assert figures["alarms"] == 0

    def test_a_sound_may_be_shorter_than_a_sample(self) -> None:
        figures = evaluation.measure_wordless(build_recognizer(), 1e-5)
        assert figures["alarms"] == 0
        assert len(figures["sounds"]) == len(evaluation.WORDLESS)

    @pytest.mark.parametrize("kind", evaluation.WORDLESS)
    def test_sound_has_one_level_and_differs_by_number(self, kind: str) -> None:
        first, again, other = (evaluation.build_wordless(kind, 40_000, n) for n in (0, 0, 1))
        assert torch.equal(first, again)
        rms = float(first.square().mean().sqrt())
        if kind == "silence":
            assert rms == 0
        else:
            assert rms == pytest.approx(evaluation.WORDLESS_RMS, rel=1e-3)
            assert not torch.equal(first, other)


class TestCalibration:
    def test_error_is_the_distance_from_the_share_that_is_right(self) -> None:
        figures = evaluation.measure_calibration(
            [reading([1], (1, 0.95)), reading([1], (0, 0.95)), reading([], (1, 0.25))]
        )
        assert figures["words"] == 3
        # Two words at 0.95 of which one is right, and one at 0.25 that is wrong.
        assert figures["ece"] == pytest.approx((2 * 0.45 + 0.25) / 3)
        assert [row["words"] for row in figures["bins"]] == [0, 0, 1, 0, 0, 0, 0, 0, 0, 2]
        assert figures["bins"][9]["correct"] == 0.5
        low, high = figures["ece_interval"]
        assert low <= figures["ece"] <= high

    def test_certainty_that_is_right_has_no_error(self) -> None:
        figures = evaluation.measure_calibration([reading([1, 0], (1, 1.0), (0, 1.0))] * 3)
        assert figures["ece"] == 0
        assert figures["ece_interval"] == [0, 0]

    def test_of_nothing_heard(self) -> None:
        assert evaluation.measure_calibration([reading([1])])["words"] == 0

    def test_rejection_counts_right_and_wrong_words(self) -> None:
        readings = [reading([1, 0], (1, 0.3), (0, 0.9), (1, 0.2)), reading([1], (0, 0.1))]
        figures = evaluation.measure_rejection(readings, 0.5)
        assert figures == {"min_confidence": 0.5, "right": 1, "wrong": 2}

    def test_threshold_turns_words_into_deletions(self) -> None:
        readings = [reading([1, 0], (1, 0.3), (0, 0.9))]
        assert evaluation.summarize(readings, 0.0)["wer"] == 0
        assert evaluation.summarize(readings, 0.5)["deletions"] == 1


class TestConditions:
    @pytest.mark.parametrize(
        ("names", "expected"),
        [
            ("all", [*LADDER, *UNSEEN]),
            ("none", []),
            ("noise", [*LADDER]),
            ("new", [*UNSEEN]),
            ("hum,none", [c for c in UNSEEN if c.kind == "hum"]),
            ("padding 2 s, padding", [c for c in UNSEEN if c.kind == "padding"]),
            ("pink", [c for c in LADDER if c.noise == "pink"]),
        ],
    )
    def test_are_chosen_by_name(self, names: str, expected: list[object]) -> None:
        chosen = evaluation.select_conditions(names)
        assert sorted(map(str, chosen)) == sorted(map(str, expected))

    def test_unknown_name_is_refused(self) -> None:
        with pytest.raises(InputError, match=r"'humm'.*'hum'"):
            evaluation.select_conditions("all,humm")

    def test_groups_follow_the_config(self) -> None:
        chosen = evaluation.select_conditions("white,speed,codec gsm")
        plain, augmented = (
            {
                result.kind: (result.group, result.related)
                for result in evaluation.measure_conditions(recognizer, CORPUS, "test", chosen)
            }
            for recognizer in (
                build_recognizer(valid_noise=False, augment_speed=0.0, augment_scenes=0.0),
                build_recognizer(augment_speed=0.1, augment_scenes=0.0),
            )
        )
        assert plain["white"] == ("noise", ())
        assert plain["speed"] == ("unseen", ())
        assert augmented["white"] == ("noise", ("valid_noise",))
        assert augmented["speed"] == ("similar", ("augment_speed",))
        assert augmented["codec"] == ("unseen", ())

    def test_figures_do_not_depend_on_what_else_is_measured(self) -> None:
        recognizer = build_recognizer()

        def measure(names: str) -> dict[str, object]:
            results = evaluation.measure_conditions(
                recognizer, CORPUS, "test", evaluation.select_conditions(names)
            )
            rows = evaluation.describe_conditions(results, 0.0)
            return {f"{row['kind']} {row['setting']}": row for row in rows}

        several = measure("white,music,dropouts")
        assert measure("music 5 dB")["music 5 dB"] == several["music 5 dB"]
        assert measure("white")["white 0 dB"] == several["white 0 dB"]

    def test_a_group_adds_up(self) -> None:
        results = evaluation.measure_conditions(
            build_recognizer(), CORPUS, "test", evaluation.select_conditions("white,pink")
        )
        rows = evaluation.describe_conditions(results, 0.0)
        group = evaluation.describe_groups(results, 0.0)["noise"]
        assert group["words"] == sum(row["words"] for row in rows)
        wrong = sum(row["substitutions"] + row["insertions"] + row["deletions"] for row in rows)
        assert group["wer"] == wrong / group["words"]
        assert group["wer_interval"][0] < group["wer"] < group["wer_interval"][1]


def test_cost_counts_what_the_layers_multiply() -> None:
    recognizer = build_recognizer(model="mlp", hidden_units=10, hidden_layers=1)
    cost = evaluation.measure_cost(recognizer)
    assert cost["parameters"] == 784 * 10 + 10 + 10 * 3 + 3
    # A position every 80 ms.
    assert cost["multiply_adds_per_s"] == pytest.approx(12.5 * (784 * 10 + 10 * 3), rel=0.02)
    assert cost["real_time_factor"] > 0
