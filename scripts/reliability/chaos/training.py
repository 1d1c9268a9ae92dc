"""The training run that is disturbed, with a fixed or an elastic number of workers."""

from pathlib import Path

from raytune_yesno.commands.recorded_run import SETTINGS_FILE
from reliability.chaos.cluster import Cluster
from reliability.chaos.compare import HISTORY, LAST, find_lost_epochs
from reliability.chaos.runs import Lines, count_lines
from reliability.chaos.work import Recovered, Work

# In double precision what rounding leaves between different numbers of workers stays so small.
SETTINGS = ("--data", "synthetic:10", "--set", "dtype=float64", "--set", "dropout=0")
SMALL = ("--set", "channels=[4,8]", "--set", "hidden_units=16")
EPOCHS, ELASTIC_EPOCHS = 100, 400  # the latter leave time for a node to join
ROUNDING = 1e-9


class Training(Work):
    """A run of `train`.

    Args:
        num_workers: how many, as `train` takes it: 2, or 1:4. A range is compared with one worker.
    """

    verb = "train"

    def __init__(self, cluster: Cluster, out: Path, seed: int, num_workers: str) -> None:
        super().__init__(cluster, out)
        self.seed, self.num_workers = seed, num_workers
        self.is_elastic = ":" in num_workers
        self.epochs = ELASTIC_EPOCHS if self.is_elastic else EPOCHS
        self.records = out / HISTORY
        self.name = f"training-{seed}-{num_workers.replace(':', '-')}"

    def begin(self) -> None:
        self.run(
            *("--out", str(self.out), "--seed", str(self.seed), "--epochs", str(self.epochs)),
            *("--num-workers", self.num_workers, *SETTINGS, *SMALL),
        )

    def resume(self) -> None:
        if (self.out / LAST).is_dir():
            self.run("--resume", str(self.out))
        else:
            (self.out / SETTINGS_FILE).unlink(missing_ok=True)
            self.begin()

    def build_alone(self, out: Path) -> "Training":
        alone = Training(self.cluster, out, self.seed, "1" if self.is_elastic else self.num_workers)
        alone.epochs = self.epochs
        return alone

    def find_losses(self, undisturbed: Path) -> tuple[int, list[str]]:
        rounding = ROUNDING if self.is_elastic else 0.0
        return find_lost_epochs(self.out, undisturbed, self.epochs, rounding)

    def count_progress(self) -> int:
        return count_lines(self.records)

    def next_epoch(self) -> Recovered:
        before = self.count_progress()
        return lambda: self.is_finished() or self.count_progress() > before

    def next_epoch_of(self, world_size: int) -> Recovered:
        """Return a function that tells whether so many workers have trained an epoch since now."""
        before = self.count_progress()

        def recovered() -> bool:
            since = Lines(self.records).read()[before:]
            return self.is_finished() or any(e["world_size"] == world_size for e in since)

        return recovered
