"""Names of metrics: which direction is best, and how they share a table with its own columns."""

import functools
import re

RESERVED = frozenset(
    (
        *("event", "time", "study", "trial", "status", "epochs", "epoch", "best_epoch", "seconds"),
        *("attempt", "attempts", "error", "host", "node", "pid", "device", "began", "ended"),
        *("diverged", "point"),
    )
)
"""Columns of the tables of trials and epochs, and fields of an epoch's record."""

METRIC_PREFIX = "metric."
_PREFIXES = ("config.", METRIC_PREFIX)

# Words that do not change what a metric measures.
_QUALIFIERS = frozenset(
    (
        *("train", "training", "val", "valid", "validation", "eval", "evaluation", "test", "dev"),
        *("mean", "avg", "average", "final"),
    )
)
_LEAST = frozenset(
    (
        *("loss", "error", "error_rate", "mse", "rmse", "mae", "mape", "nll", "cross_entropy"),
        *("perplexity", "wer", "cer", "squared_error", "absolute_error", "log_loss", "logloss"),
    )
)
_MOST = frozenset(
    (
        *("acc", "accuracy", "balanced_accuracy", "auc", "auroc", "roc_auc", "f1", "f1_score"),
        *("iou", "miou", "bleu", "reward", "episode_reward", "episode_return"),
    )
)


@functools.lru_cache(maxsize=10_000)
def name_metric(name: str) -> str:
    """Return the column of a metric: its name, or ``metric.NAME`` if NAME is a column of ours."""
    taken = name in RESERVED or name.startswith(_PREFIXES)
    return METRIC_PREFIX + name if taken else name


def known_mode(metric: str) -> str | None:
    """Return ``min`` or ``max`` where a metric's name leaves no doubt; otherwise None.

    The whole name counts, less qualifiers as in ``val_loss`` or ``episode_reward_mean``:
    ``brier_score_loss``, ``neg_log_loss`` and ``inaccuracy`` are not known.
    """
    name = metric.removeprefix(METRIC_PREFIX).rpartition("/")[2]
    words = re.split(r"[\s_.-]+", name.lower())
    while words and words[0] in _QUALIFIERS:
        words.pop(0)
    while words and words[-1] in _QUALIFIERS:
        words.pop()
    core = "_".join(words)
    return "min" if core in _LEAST else "max" if core in _MOST else None
