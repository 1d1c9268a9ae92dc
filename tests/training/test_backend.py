"""The collectives between the ranks of a run."""

from typing import Any

import pytest

from raytune_yesno.config import build_config
from raytune_yesno.training.loop import choose_backend


@pytest.mark.parametrize(
    ("settings", "backend"),
    [
        ({}, None),
        ({"use_gpu": True}, None),
        ({"use_gpu": True, "gpus_per_worker": 2.0}, None),
        ({"use_gpu": True, "gpus_per_worker": 0.5}, "gloo"),
        ({"gpus_per_worker": 0.5}, None),
    ],
)
def test_ranks_that_share_a_gpu_do_not_use_nccl(
    settings: dict[str, Any], backend: str | None
) -> None:
    assert choose_backend(build_config(settings)) == backend
