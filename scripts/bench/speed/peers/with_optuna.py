"""Optuna, as its documentation does it across processes: one study in a journal file."""

import sys
from subprocess import Popen
from typing import Any

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from bench.speed.peers.work import load, read_task, train


def open_study(task: dict[str, Any]) -> optuna.Study:
    storage = JournalStorage(JournalFileBackend(f"{task['out']}/journal.log"))
    return optuna.create_study(storage=storage, study_name="bench", load_if_exists=True)


if __name__ == "__main__":
    task = read_task()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = open_study(task)
    if len(sys.argv) == 2:
        for rate in task["rates"]:
            study.enqueue_trial({"learning_rate": rate})
        words = [sys.executable, __file__, sys.argv[1], "worker"]
        workers = [Popen(words) for _ in range(task["slots"])]
        sys.exit(max(worker.wait() for worker in workers))
    corpus = load(task)

    def objective(trial: optuna.Trial) -> float:
        rate = trial.suggest_float("learning_rate", 1e-4, 1e-2, log=True)
        loss = float("inf")
        for metrics in train(task, rate, corpus):
            loss = min(loss, metrics["valid_loss"])
            trial.report(loss, metrics["epoch"])
        return loss

    while any(trial.state == optuna.trial.TrialState.WAITING for trial in study.trials):
        study.optimize(objective, n_trials=1)
