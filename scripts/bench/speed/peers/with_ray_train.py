"""This project: its workers on Ray Train."""

from pathlib import Path

from bench.speed.peers.data_parallel import note_epoch
from bench.speed.peers.work import read_task
from raytune_yesno.cluster.session import ray_session
from raytune_yesno.config import build_config
from raytune_yesno.tasks.speech.load import load_corpus
from raytune_yesno.training.run import run_training

if __name__ == "__main__":
    task = read_task()
    config = build_config(task["config"])
    with ray_session("local", num_cpus=2):
        run_training(
            config,
            load_corpus(task["data"]),
            Path(task["out"]) / "run",
            on_epoch=lambda metrics: note_epoch(task, metrics),  # within a tenth of a second
        )
