"""Training of the speech task: log-mel windows, CTC loss, word error rate."""

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from raytune_yesno.seeding import build_torch_generator, derive_seed
from raytune_yesno.tasks.speech.augment import Augmentation
from raytune_yesno.tasks.speech.calibrate import count_words, fit_calibration
from raytune_yesno.tasks.speech.declaration import SpeechTask
from raytune_yesno.tasks.speech.decode import DECODING, SHORT_DECODING, count_errors, match_words
from raytune_yesno.tasks.speech.features import (
    HOP_S,
    Batch,
    Example,
    LogMel,
    build_extract,
    collate,
    find_levels,
    flat_alignment,
    known_alignment,
    no_alignment,
    pad_silence,
)
from raytune_yesno.tasks.speech.networks import WINDOW, ShiftAverage, build_network
from raytune_yesno.tasks.speech.noise import NOISES, SNRS_DB, Condition, noisy_copies
from raytune_yesno.tasks.speech.scenes import Scenes, settings_for
from raytune_yesno.tasks.speech.settings import SpeechConfig, examples_per_epoch, split_options
from raytune_yesno.tasks.speech.split import MAX_VALIDATION, split_corpus
from raytune_yesno.tasks.task import Step, batched, shuffle

if TYPE_CHECKING:
    from raytune_yesno.tasks.speech.corpus import Corpus

Item = TypeVar("Item")
Built = TypeVar("Built")
Kept = TypeVar("Kept")

VALIDATION_BATCH = 8
"""Larger validation batches are slower per recording on one core: they outgrow its cache."""

NUM_COMPOSERS = 2
"""Threads that compose examples. One takes longer to compose a batch than a step takes."""

NUM_AHEAD = 4
"""Number of batches that are composed in advance."""

SCENES_PER_RECORDING = 4
"""Number of composed validation examples per validation recording."""


MAX_KEPT_S = 4 * 3600.0
"""Length of the sound whose clean features a process keeps: 80 MB."""

MAX_CHANGED = 40
"""Number of validation recordings of which noisy copies and scenes are validated, too."""


class YesNo(SpeechTask):
    """Recognise the words of a corpus: log-mel windows, CTC loss, word error rate."""

    def __init__(
        self, config: SpeechConfig, data: "Corpus", device: torch.device, *, refit: bool = False
    ) -> None:
        corpus = data
        self._config, self._device, self._corpus = config, device, corpus
        self._classes = 1 + len(corpus.vocabulary)
        split = split_corpus(corpus, seed=config.seed, **split_options(config))
        self._train = tuple(sorted((*split.train, *split.valid))) if refit else split.train
        # A refit has no validation part, but its confidences still need a calibration.
        self._reported = not refit
        if refit:  # a short recording is one word: six would say nothing of confidences
            valid = thin(self._train, MAX_VALIDATION if corpus.is_short else 6)
        else:
            valid = thin(split.valid, MAX_VALIDATION)
        self._decoding = SHORT_DECODING if corpus.is_short else DECODING
        self._extract = build_extract(config, corpus.recorded)
        self._clean = CleanExamples(corpus, self._extract)
        self._valid = [self._clean[index] for index in valid]
        if config.valid_noise and valid:
            changed = thin(valid, MAX_CHANGED)
            self._valid += noisy_examples(corpus, changed, self._extract)
            if config.augment_scenes:
                self._valid += scene_examples(corpus, changed, self._extract)
        self._scenes = None
        if config.augment_scenes:
            self._scenes = Scenes(corpus, self._train, settings_for(self._classes - 1))
        self._augmentation = Augmentation(
            noise=config.augment_noise,
            snr_db=config.augment_snr_db,
            gain_db=config.augment_gain_db,
            shift_s=config.augment_shift_s,
            speed=config.augment_speed,
            time_mask=config.augment_time_mask,
            freq_mask=config.augment_freq_mask,
        )
        self.calibration: dict[str, float] | None = None
        self._num_examples = examples_per_epoch(config, self._classes - 1, len(self._train))
        num_steps = math.ceil(self._num_examples / config.batch_size)
        self.steps_per_pass = self.steps_per_epoch = num_steps
        self.train_scale = 1 / self._num_examples

    def build_model(self) -> nn.Module:
        """Return the untrained network of the config."""
        return build_network(self._config, self._classes - 1)

    def steps(self, epoch: int, rank: int, world_size: int) -> Iterator[Step]:
        """Yield one rank's share of an epoch of augmented examples.

        Threads compose the next examples during a step. An example depends only on its name, so
        the threads do not change it.
        """

        def build(batch: Sequence[int]) -> Step:
            share = [divmod(number, len(self._train)) for number in batch[rank::world_size]]
            examples = [self._augment(index, epoch, turn) for turn, index in share]
            return Step(self._collate(examples), 1 / len(batch))

        order = self._order(epoch)
        with ThreadPoolExecutor(NUM_COMPOSERS, "examples") as pool:
            yield from ahead(pool, build, batched(order, self._config.batch_size))

    def _order(self, epoch: int) -> list[int]:
        """Return the examples of an epoch: turn times size of the training part, plus index.

        If the training part is larger than an epoch, epochs continue where the last one ended.
        """
        size, count, seed = len(self._train), self._num_examples, self._config.seed
        if count >= size:
            return shuffle(count, "order", seed, epoch)
        begin = (epoch - 1) * count
        first, last = begin // size, (begin + count - 1) // size
        passes = [shuffle(size, "order", seed, number) for number in range(first, last + 1)]
        whole = [turn * size + index for turn, order in enumerate(passes) for index in order]
        return whole[begin - first * size :][:count]

    def loss(self, model: nn.Module, shard: Batch, progress: float) -> Tensor:
        """Return the CTC loss mixed with the cross-entropy to the alignment.

        With CTC alone, the model first outputs only blanks. The time until it leaves that plateau
        is random, and it may memorise the noise of the pauses instead.
        """
        if not len(shard):  # all ranks take part in a step: an empty shard contributes a zero
            silence_B1FT = torch.zeros(1, 1, WINDOW, WINDOW, dtype=shard.x_B1FT.dtype)
            return 0.0 * model(silence_B1FT.to(self._device)).sum()
        logp_BPC = model(shard.x_B1FT).reshape(len(shard), -1, self._classes)
        weight = self._alignment_weight(progress)
        loss = (1 - weight) * ctc_loss(logp_BPC, shard)
        return loss - weight * (shard.flat_BPC * logp_BPC).sum() if weight else loss

    def validate(self, model: nn.Module, rank: int, world_size: int) -> Tensor:
        """Return this rank's sums: loss, recordings, errors, words, and words by log-odds."""
        sums, counts_2N = torch.zeros(4, dtype=torch.float64), count_words([])
        average = ShiftAverage(model, self._config.shifts)
        for examples in batched(self._valid[rank::world_size], VALIDATION_BATCH):
            batch = self._collate(examples)
            logp_BPC = average(batch.x_B1FT)
            sums[0] += ctc_loss(logp_BPC, batch).item()
            for logp_PC, positions, example in zip(
                logp_BPC.cpu(), batch.positions_B.tolist(), examples, strict=True
            ):
                level_P = find_levels(pad_silence(example.feature_FT))
                words = self._decoding.decode(logp_PC[:positions], level_P)
                heard = [word.label for word in words]
                errors = count_errors(example.words, heard)
                sums[1:] += torch.tensor([1, errors.errors, errors.words])
                probabilities = [word.confidence for word in words]
                right = match_words(example.words, heard)
                counts_2N += count_words(zip(probabilities, right, strict=True))
        return torch.cat([sums, counts_2N.flatten()])

    def metrics_of(self, sums: Tensor) -> dict[str, float]:
        """Return validation loss and word error rate, and fit ``calibration``."""
        loss, recordings, errors, words = sums[:4].tolist()
        if not recordings:
            return {}
        counts_2N = sums[4:].cpu().unflatten(0, (2, -1))
        self.calibration = fit_calibration(counts_2N, self._decoding).as_dict()
        if not self._reported:
            return {}
        return {"valid_loss": loss / recordings, "valid_wer": errors / words}

    def _alignment_weight(self, progress: float) -> float:
        flat_start, min_weight = self._config.flat_start, self._config.alignment
        return max(min_weight, 1 - progress / flat_start) if flat_start else min_weight

    def _augment(self, number: int, epoch: int, turn: int) -> Example:
        """Return an augmented training example, the same on every rank.

        Args:
            number: index in the training part.
            epoch: number of the epoch, from 1.
            turn: pass over the training part within the epoch, from 0.
        """
        index, augmentation = self._train[number], self._augmentation
        name = self._config.seed, epoch, self._corpus.names[index], *([turn] if turn else [])
        if self._scenes:
            random = np.random.default_rng(derive_seed("scene", *name))
            if random.random() < self._config.augment_scenes:
                scene = self._scenes.compose(number, random)
                feature_FT = self._extract(scene.waveform)
                feature_FT = self._scenes.change_bands(feature_FT, scene.words != (), random)
                flat_PC = known_alignment(feature_FT, scene.words, scene.centres_s, self._classes)
                return Example(feature_FT, scene.words, flat_PC)
        if not (augmentation.changes_waveform or augmentation.changes_spectrogram):
            return self._clean[index]
        generator = build_torch_generator("augment", *name)
        if augmentation.changes_waveform:
            words = self._corpus.labels[index]
            changed, clean = augmentation.waveforms(self._corpus[index][0], generator)
            feature_FT = self._extract(changed)
            if self._alignment_weight((epoch - 1) / self._config.epochs):
                # Noise hides the start and end of speech: align without it.
                aligned_FT = feature_FT if clean is changed else self._extract(clean)
                flat_PC = flat_alignment(aligned_FT, words, self._classes)
            else:
                flat_PC = no_alignment(feature_FT, self._classes)
            example = Example(feature_FT, words, flat_PC)
        else:
            example = self._clean[index]
        feature_FT = augmentation.spectrogram(example.feature_FT, generator)
        return example._replace(feature_FT=feature_FT)

    def _collate(self, examples: Sequence[Example]) -> Batch:
        return collate(examples, getattr(torch, self._config.stored_dtype), self._device)


def thin(items: Sequence[int], most: int) -> tuple[int, ...]:
    """Return at most about ``most`` items, evenly spaced."""
    return tuple(items[:: max(1, len(items) // most)])


def ahead(pool: Executor, build: Callable[[Item], Built], items: Iterable[Item]) -> Iterator[Built]:
    """Yield ``build(item)`` of each item in order, :data:`NUM_AHEAD` of them built in advance."""
    waiting: deque[Future[Built]] = deque()
    for item in items:
        waiting.append(pool.submit(build, item))
        if len(waiting) > NUM_AHEAD:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


# A process that trains several trials on the same corpus computes its features once.
_cache: dict[tuple[object, ...], Any] = {}
_MAX_CACHED = 6


def keep(key: tuple[object, ...], build: Callable[[], Kept]) -> Kept:
    """Return cached examples, or build and cache them. The oldest keys are evicted."""
    if key not in _cache:
        while len(_cache) >= _MAX_CACHED:
            del _cache[next(iter(_cache))]
        _cache[key] = build()
    kept: Kept = _cache[key]
    return kept


class CleanExamples:
    """The recordings of a corpus as examples, without augmentation.

    Each is computed when it is first needed. The first :data:`MAX_KEPT_S` of sound are kept.
    """

    def __init__(self, corpus: "Corpus", extract: LogMel) -> None:
        self._corpus, self._extract = corpus, extract
        # Threads share it: at worst, two compute the same example.
        self._kept = keep(("clean", corpus.fingerprint, extract.key), dict[int, Example])
        self._num_frames = sum(each.feature_FT.shape[1] for each in self._kept.values())

    def __getitem__(self, index: int) -> Example:
        """Return the example of recording ``index``."""
        if (kept := self._kept.get(index)) is not None:
            return kept
        feature, words = self._extract(self._corpus[index][0]), self._corpus.labels[index]
        example = Example(feature, words, flat_alignment(feature, words, self._classes))
        self._num_frames += feature.shape[1]
        if self._num_frames * HOP_S < MAX_KEPT_S:
            self._kept[index] = example
        return example

    @property
    def _classes(self) -> int:
        return 1 + len(self._corpus.vocabulary)


def noisy_examples(corpus: "Corpus", indices: Sequence[int], extract: LogMel) -> list[Example]:
    """Return recordings with fixed noise: each with every kind, the ratios in rotation."""

    def build() -> list[Example]:
        examples = []
        for number, index in enumerate(indices):
            for turn, noise in enumerate(NOISES):
                condition = Condition(noise, SNRS_DB[(number + turn) % len(SNRS_DB)])
                for copy in noisy_copies(corpus, [index], [condition], "valid"):
                    feature, words = extract(copy.waveform), corpus.labels[index]
                    flat_PC = flat_alignment(feature, words, 1 + len(corpus.vocabulary))
                    examples.append(Example(feature, words, flat_PC))
        return examples

    return keep(("noisy", corpus.fingerprint, extract.key, tuple(indices)), build)


def scene_examples(corpus: "Corpus", indices: Sequence[int], extract: LogMel) -> list[Example]:
    """Return fixed scenes of recordings, with other pauses, rooms, backgrounds and sounds."""

    def build() -> list[Example]:
        scenes = Scenes(corpus, indices, settings_for(len(corpus.vocabulary)))
        examples = []
        for number, index in enumerate(indices):
            for turn in range(SCENES_PER_RECORDING):
                name = "valid", corpus.names[index], turn
                scene = scenes.compose(number, np.random.default_rng(derive_seed("scene", *name)))
                feature_FT = extract(scene.waveform)
                flat_PC = no_alignment(feature_FT, 1 + len(corpus.vocabulary))
                examples.append(Example(feature_FT, scene.words, flat_PC))
        return examples

    return keep(("scenes", corpus.fingerprint, extract.key, tuple(indices)), build)


def ctc_loss(logp_BPC: Tensor, batch: Batch) -> Tensor:
    """Return the CTC loss (Graves et al., 2006) of (B, P, C) log-probabilities, summed over B.

    An example that is too short for its words, as a fast scene may be, counts as 0. In batches
    without one, an infinite loss stays so: training has diverged.
    """
    return F.ctc_loss(
        logp_BPC.transpose(0, 1),
        batch.words + 1,
        batch.positions_B,
        batch.num_words_B,
        reduction="sum",
        zero_infinity=not batch.fits,
    )
