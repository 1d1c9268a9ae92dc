"""The declaration of the speech task: settings, metrics and data, without importing torch."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from raytune_yesno.metrics import Metric
from raytune_yesno.tasks.speech.settings import (
    COST_METRICS,
    FEW_VALIDATION,
    FEW_WORDS,
    LEGACY,
    METRICS,
    MODEL_DEFAULTS,
    SpeechConfig,
    SpeechSettings,
    default_space,
    examples_per_epoch,
    split_options,
)

if TYPE_CHECKING:
    from raytune_yesno.checkpoint import Checkpoint
    from raytune_yesno.tasks.speech.corpus import Corpus


class SpeechTask:
    """The parts of the speech task that the engine needs before training.

    This module does not import torch. :class:`raytune_yesno.tasks.speech.task.YesNo` trains.
    """

    implementation = "raytune_yesno.tasks.speech.task:YesNo"
    metrics: ClassVar[Sequence[Metric]] = METRICS
    cost_metrics: ClassVar[Sequence[Metric]] = COST_METRICS
    Settings = SpeechSettings
    model_defaults = MODEL_DEFAULTS
    legacy = LEGACY
    space = staticmethod(default_space)
    next_commands = ("evaluate {}", "predict {} --sample")

    @staticmethod
    def imply(changes: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the network that network-specific settings imply, if any."""
        if "channels" in changes or "kernel_size" in changes:
            return {"model": "cnn"}
        return {"model": "mlp"} if "hidden_layers" in changes else {}

    @staticmethod
    def load_data(
        source: str,
        *,
        config: SpeechConfig,
        skip_bad: bool = False,
        progress: Callable[[int, int | None], None] | None = None,
    ) -> "Corpus":
        """Read the corpus that ``source`` names and check that no part of it is empty."""
        from raytune_yesno.tasks.speech.load import load_corpus
        from raytune_yesno.tasks.speech.split import split_corpus

        corpus = load_corpus(source, skip_bad=skip_bad, progress=progress)
        split_corpus(corpus, seed=config.seed, **split_options(config))
        return corpus

    @staticmethod
    def remarks(config: SpeechConfig, data: "Corpus") -> list[str]:
        """Return the size of an epoch, and a warning for each part that is too small."""
        from raytune_yesno.tasks.speech.split import split_corpus
        from raytune_yesno.tasks.speech.transcript import list_words

        split = split_corpus(data, seed=config.seed, **split_options(config))
        size, words = len(split.train), len(data.vocabulary)
        epoch = examples_per_epoch(config, words, size)
        lines = [
            f"training: {epoch:,} examples per epoch, from {size:,} recordings "
            "(min_examples, max_examples)"
        ]
        trained = Counter(
            data.vocabulary[label] for index in split.train for label in data.labels[index]
        )
        if untrained := [word for word in data.spoken if not trained[word]]:
            lines.append(
                f"few recordings: {list_words(untrained)}: none in training, so the model cannot "
                "recognise these words; record more, or change the split (split_by)"
            )
        few = {word: trained[word] for word in data.spoken if 0 < trained[word] < FEW_WORDS}
        if few:
            lines.append(
                f"few recordings: {list_words(few)}: as few as {min(few.values())} in training; "
                f"below {FEW_WORDS} of a word expect several percent of errors; record more"
            )
        if config.split_by == "speaker" and (unknown := data.speakers.count("")):
            lines.append(
                f"recordings without a speaker: {unknown}; they are used only for training if "
                "validation and test have their own speakers, but their speakers may also occur in "
                "those parts"
            )
        if len(split.valid) < FEW_VALIDATION:
            lines.append(
                f"few recordings: {len(split.valid)} for validation; validation figures are rough"
            )
        return lines

    @staticmethod
    def costs(config: SpeechConfig, data: "Corpus") -> dict[str, float]:
        """Return the size and the arithmetic of the network."""
        from raytune_yesno.tasks.speech.costs import count_costs

        return count_costs(config, len(data.vocabulary))

    @staticmethod
    def measure_costs(config: SpeechConfig, data: "Corpus") -> dict[str, float]:
        """Return the measured real-time factor of the network."""
        from raytune_yesno.tasks.speech.costs import measure_speed

        return measure_speed(config, len(data.vocabulary))

    @staticmethod
    def test(checkpoint: "Checkpoint", data: "Corpus") -> dict[str, Any]:
        """Return the word errors of a checkpoint on the test part."""
        from raytune_yesno.tasks.speech.evaluation import evaluate
        from raytune_yesno.tasks.speech.recognizer import Recognizer

        return evaluate(Recognizer(checkpoint), data, "test")

    @staticmethod
    def describe_test(figures: Mapping[str, Any]) -> str:
        """Return one line with the word error rate and its 95 % interval."""
        wrong = sum(int(figures[kind]) for kind in ("substitutions", "insertions", "deletions"))
        words = int(figures["words"])
        text = f"word error rate {figures['wer']:.2%}: {wrong} of {words} words"
        interval = figures.get("wer_interval")
        if not interval and 0 < words >= wrong:  # figures of an older version
            from scipy.stats import binomtest

            interval = binomtest(wrong, words).proportion_ci(method="wilson")
        if interval:
            text += f" (95 % interval {interval[0]:.2%} to {interval[1]:.2%})"
        return text
