"""A trial of Syne Tune's: a program of its own."""

import argparse
import json
from pathlib import Path

from syne_tune import Reporter

from bench.speed.peers.work import load, train

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--learning_rate", type=float)
    parser.add_argument("--task")
    options, _ = parser.parse_known_args()
    task = json.loads(Path(options.task).read_text())
    report = Reporter()
    for metrics in train(task, options.learning_rate, load(task)):
        report(epoch=metrics["epoch"], valid_loss=metrics["valid_loss"])
