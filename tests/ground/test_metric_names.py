"""Names of metrics: the direction that they imply, and reserved columns."""

import pytest

from raytune_yesno.metrics import known_mode, name_metric


@pytest.mark.parametrize(
    ("metric", "mode"),
    [
        ("loss", "min"), ("valid_loss", "min"), ("eval/metrics/val_loss", "min"), ("wer", "min"),
        ("mean_squared_error", "min"), ("error_rate", "min"), ("metric.error", "min"),
        ("mean_accuracy", "max"), ("Test-AUC", "max"), ("iou", "max"), ("val_f1_score", "max"),
        ("episode_reward_mean", "max"), ("episode_return_mean", "max"), ("mean_reward", "max"),
        ("brier_score_loss", None), ("neg_log_loss", None), ("inaccuracy", None), ("score", None),
        ("loss_scale", None), ("accuracy_drop", None), ("recall", None), ("_metric", None),
        ("mean", None), ("", None),
    ],
)  # fmt: skip
def test_only_unambiguous_names_imply_a_direction(metric: str, mode: str | None) -> None:
    assert known_mode(metric) == mode


def test_no_two_metrics_share_a_column() -> None:
    names = ["loss", "status", "metric.status", "metric.metric.status", "config.x", "epoch", "x/y"]
    columns = [name_metric(name) for name in names]
    assert columns[:2] == ["loss", "metric.status"]
    assert len(set(columns)) == len(names)
