"""Data-parallel training over gloo as on Ray's workers, but without Ray."""

import dataclasses
import itertools
import multiprocessing
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from raytune_yesno.checkpoint import Checkpoint, load_checkpoint
from raytune_yesno.config import build_config
from raytune_yesno.tasks.speech.corpus import Corpus
from raytune_yesno.training.loop import REPLICA, fit

SMALL_CNN = {"channels": (4, 8), "hidden_units": 16, "dropout": 0.4, "clip_norm": 0.5}
YESNO = {**SMALL_CNN, "epochs": 5, "batch_size": 6}
# With larger steps the fit turns chaotic: a difference in the last bit grows.
SINE = {
    "task": "sine",
    "epochs": 5,
    "optimizer": "sgd",
    "learning_rate": 1e-4,
    "momentum": 0.9,
    "hidden_layers": 1,
    "dropout": 0.2,
    "clip_norm": 1.0,
}
# Batches of 6 of the 8 recordings leave one of 2, and those of 1998 of the 2000 points one of 2:
# smaller than the number of ranks. With batches of 1 every rank but one is always idle.
CASES: dict[str, dict[str, Any]] = {
    "cnn": {**YESNO, "dtype": "float64"},
    "cnn, augmented": {
        **YESNO,
        "dtype": "float64",
        "epochs": 2,
        "augment_noise": 0.5,
        "augment_speed": 0.1,
        "augment_time_mask": 6,
    },
    "cnn in float32": {**YESNO, "dtype": "float32"},
    "cnn, one by one": {**YESNO, "dtype": "float64", "batch_size": 1, "epochs": 2},
    "tdnn, scenes": {
        "model": "tdnn",
        "hidden_units": 8,
        "dropout": 0.4,
        "epochs": 2,
        "batch_size": 6,
        "min_examples": 12,
        "dtype": "float64",
    },
    # AdamW and clipping hide the scale of the gradient; these settings show it.
    "mlp": {
        **YESNO,
        "dtype": "float64",
        "model": "mlp",
        "optimizer": "sgd",
        "learning_rate": 1e-4,
        "clip_norm": 0.0,
    },
    "sine, all points": {"task": "sine", "dtype": "float64", "epochs": 1},
    "sine": {**SINE, "dtype": "float64", "batch_size": 1998},
    "sine in float32": {**SINE, "dtype": "float32", "batch_size": 1998, "epochs": 2},
    "sine, small batches": {**SINE, "dtype": "float64", "batch_size": 6, "epochs": 1},
}
TO_CUT = "cnn in float32"  # rounding shows any other order of a sum
# Rounding grows with the steps: with dropout the losses of single precision differ by up to 2e-5.
# The double-precision cases show that it is rounding alone.
TOLERANCE = {"float64": 1e-9, "float32": 5e-5}


@dataclasses.dataclass(frozen=True)
class Run:
    """One run: the folder of its last checkpoint, its start, and its interruption."""

    folder: Path
    changes: dict[str, Any]
    resume: Path | None = None
    stop_after: int | None = None

    def train(self, corpus: Corpus, prepare: Any = lambda model: model) -> None:
        resume = load_checkpoint(self.resume) if self.resume else None
        records = fit(build_config(self.changes), corpus, prepare=prepare, resume=resume)
        for record in itertools.islice(records, self.stop_after):
            last = record
            record.save(self.folder)
        assert last.metrics["epoch"] == (self.stop_after or self.changes["epochs"])


def replicate(model: nn.Module) -> nn.Module:
    return DistributedDataParallel(model, **REPLICA)


def run_rank(
    rank: int, world_size: int, rendezvous: Path, corpus: Corpus, runs: Sequence[Run]
) -> None:
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{rendezvous}", rank=rank, world_size=world_size
    )
    for run in runs:
        # The next run may resume from rank 0's checkpoint of this run.
        dataclasses.replace(run, folder=run.folder / str(rank)).train(corpus, replicate)
        dist.barrier()
    dist.destroy_process_group()


def run_ranks(world_size: int, folder: Path, corpus: Corpus, runs: Sequence[Run]) -> None:
    """Train ``runs`` one after another on new processes. Each rank saves its own checkpoint."""
    folder.mkdir(exist_ok=True)
    rendezvous = folder / f"rendezvous-{len(list(folder.iterdir()))}"
    # A fork server imports torch once for all processes, which then start quickly.
    multiprocessing.set_forkserver_preload(["raytune_yesno.training.loop"])
    torch.multiprocessing.start_processes(
        run_rank,
        (world_size, rendezvous, corpus, runs),
        nprocs=world_size,
        start_method="forkserver",
    )


def assert_same_bits(one: Checkpoint, other: Checkpoint) -> None:
    """Check that weights and optimiser state are equal bit for bit."""
    assert one.epoch == other.epoch
    torch.testing.assert_close(one.state_dict, other.state_dict, rtol=0, atol=0)
    torch.testing.assert_close(one.optimizer, other.optimizer, rtol=0, atol=0)


@pytest.fixture(scope="module")
def alone(small_corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Checkpoint]:
    """Return the result of every case in one process."""
    folder = tmp_path_factory.mktemp("alone")
    for name, changes in CASES.items():
        Run(folder / name, changes).train(small_corpus)
    return {name: load_checkpoint(folder / name) for name in CASES}


@pytest.fixture(
    scope="module",
    # With three or more ranks, the order in which gradients are summed matters.
    params=[
        *(pytest.param(number, marks=pytest.mark.long) for number in (2, 3)),
        pytest.param(4, marks=pytest.mark.slow),
    ],
    ids="{} ranks".format,
)
def folder_of_ranks(
    request: pytest.FixtureRequest, small_corpus: Corpus, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Return the folder of every case, and of one cut off, trained by several processes."""
    folder: Path = tmp_path_factory.mktemp("together")
    runs = [Run(folder / name, changes) for name, changes in CASES.items()]
    cut = Run(folder / "cut", CASES[TO_CUT], stop_after=2)
    run_ranks(request.param, folder, small_corpus, [*runs, cut])
    return folder


def load_ranks(folder: Path) -> list[Checkpoint]:
    """Return the checkpoint of each rank of a run."""
    return [load_checkpoint(each) for each in sorted(folder.iterdir())]


@pytest.mark.parametrize("case", CASES)
class TestTheNumberOfRanks:
    def test_does_not_change_the_curve(
        self, alone: dict[str, Checkpoint], folder_of_ranks: Path, case: str
    ) -> None:
        close = {"rel": TOLERANCE[CASES[case]["dtype"]]}
        together = load_ranks(folder_of_ranks / case)
        for ours, theirs in zip(together[0].history, alone[case].history, strict=True):
            assert ours.keys() == theirs.keys()
            for key in ("train_loss", "valid_loss", "learning_rate"):
                assert ours[key] == pytest.approx(theirs[key], **close), (ours["epoch"], key)
            assert ours.get("valid_wer") == theirs.get("valid_wer")

    def test_leaves_all_ranks_the_same(self, folder_of_ranks: Path, case: str) -> None:
        first, *others = load_ranks(folder_of_ranks / case)
        assert others
        for other in others:
            assert_same_bits(first, other)
            for ours, theirs in zip(first.history, other.history, strict=True):
                assert {**ours, "seconds": 0} == {**theirs, "seconds": 0}


def test_a_run_cut_off_and_resumed_by_new_processes_ends_in_the_same_bits(
    small_corpus: Corpus, folder_of_ranks: Path, tmp_path: Path
) -> None:
    wholes = load_ranks(folder_of_ranks / TO_CUT)
    rest = Run(tmp_path / "rest", CASES[TO_CUT], resume=folder_of_ranks / "cut" / "0")
    run_ranks(len(wholes), tmp_path, small_corpus, [rest])
    for one, other in zip(wholes, load_ranks(rest.folder), strict=True):
        assert_same_bits(one, other)
        losses = [[epoch["train_loss"] for epoch in run.history] for run in (one, other)]
        assert losses[0] == losses[1]
