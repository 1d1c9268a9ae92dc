"""The number of training examples per epoch, by default a matter of the vocabulary."""

import numpy as np
import pytest
import torch

from raytune_yesno.config import build_config, upgrade_config
from raytune_yesno.tasks.speech.corpus import build_corpus
from raytune_yesno.tasks.speech.declaration import SpeechTask
from raytune_yesno.tasks.speech.settings import as_speech, examples_per_epoch
from raytune_yesno.tasks.speech.task import YesNo
from raytune_yesno.tasks.speech.transcript import Transcript


@pytest.mark.parametrize(
    ("words", "recordings", "expected"),
    [
        (2, 24, 312),  # YESNO: 13 times each
        (2, 300, 300),
        (2, 540, 540),
        (10, 300, 1500),
        (10, 2450, 2450),
        (40, 480, 6240),
        (35, 84_000, 10_000),
        (300, 6000, 10_000),
    ],
)
def test_an_epoch_grows_with_the_vocabulary_up_to_a_limit(
    words: int, recordings: int, expected: int
) -> None:
    assert examples_per_epoch(as_speech(build_config()), words, recordings) == expected


def test_the_limits_can_be_set() -> None:
    config = as_speech(build_config({"min_examples": 6, "max_examples": 20}))
    assert [examples_per_epoch(config, 10, size) for size in (4, 10, 50)] == [8, 10, 20]


def test_a_recorded_config_keeps_its_limits() -> None:
    recorded = build_config({"min_examples": 300, "max_examples": 1000}).as_dict()
    config = as_speech(build_config(upgrade_config(recorded)))
    assert examples_per_epoch(config, 10, 2450) == 1000


def test_training_has_as_many_examples_as_it_says() -> None:
    random = np.random.default_rng(0)
    names = [f"{word}/{take}" for word in ("eins", "zwei", "drei") for take in range(4)]
    waveforms = {name: random.standard_normal(3200).astype(np.float32) for name in names}
    about = {name: Transcript((name.split("/")[0],)) for name in names}
    corpus = build_corpus(waveforms, about, source="test")
    settings = {"valid_noise": False, "augment_scenes": 0.0, "batch_size": 1}
    config = as_speech(build_config(settings))
    task = YesNo(config, corpus, torch.device("cpu"))
    expected = examples_per_epoch(config, 3, 5)
    assert expected == task.steps_per_epoch == 450
    assert f"{expected} examples per epoch" in SpeechTask.remarks(config, corpus)[0]
