"""The names of metrics: which are reserved, and the direction that a name implies."""

import functools
import re

RESERVED = frozenset(
    (
        *("event", "time", "study", "trial", "status", "epochs", "epoch", "best_epoch", "seconds"),
        *("attempt", "attempts", "error", "host", "node", "pid", "device", "began", "ended"),
        *("diverged", "point", "world_size"),
    )
)
"""Names that a metric cannot have: columns of tables, and fields of the event of an epoch."""

METRIC_PREFIX = "metric."


@functools.lru_cache(maxsize=10_000)
def name_metric(name: str) -> str:
    """Return the column of a metric: its name, or ``metric.NAME`` if NAME is reserved."""
    is_reserved = name in RESERVED or name.startswith(("config.", METRIC_PREFIX))
    return METRIC_PREFIX + name if is_reserved else name


# Words that do not change the direction of a metric.
_QUALIFIERS = frozenset(
    (
        *("train", "training", "val", "valid", "validation", "eval", "evaluation", "test", "dev"),
        *("mean", "avg", "average", "final"),
    )
)
_MINIMIZED = frozenset(
    (
        *("loss", "error", "error_rate", "mse", "rmse", "mae", "mape", "nll", "cross_entropy"),
        *("perplexity", "wer", "cer", "squared_error", "absolute_error", "log_loss", "logloss"),
    )
)
_MAXIMIZED = frozenset(
    (
        *("acc", "accuracy", "balanced_accuracy", "auc", "auroc", "roc_auc", "f1", "f1_score"),
        *("iou", "miou", "bleu", "reward", "episode_reward", "episode_return"),
    )
)


def known_mode(metric: str) -> str | None:
    """Return the direction that a metric's name implies; None if it is ambiguous.

    Qualifiers, as in ``val_loss`` or ``episode_reward_mean``, are ignored. The rest must match a
    known name exactly: ``brier_score_loss``, ``neg_log_loss`` and ``inaccuracy`` do not.

    Example:
        >>> known_mode("val_loss"), known_mode("mean_accuracy"), known_mode("score")
        ('min', 'max', None)
    """
    name = metric.removeprefix(METRIC_PREFIX).rpartition("/")[2]
    words = re.split(r"[\s_.-]+", name.lower())
    while words and words[0] in _QUALIFIERS:
        words.pop(0)
    while words and words[-1] in _QUALIFIERS:
        words.pop()
    core = "_".join(words)
    return "min" if core in _MINIMIZED else "max" if core in _MAXIMIZED else None
