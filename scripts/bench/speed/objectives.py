"""Objectives of about one second: one waits for a core only, one computes on it."""

import hashlib
import time
from typing import Any

ITERATIONS = 2_800_000
"""Of a hash: about one second on one core."""


def asleep(config: dict[str, Any]) -> dict[str, float]:
    time.sleep(1.0)
    return {"loss": config["x"] ** 2}


def computing(config: dict[str, Any]) -> dict[str, float]:
    hashlib.pbkdf2_hmac("sha256", b"", b"", ITERATIONS)
    return {"loss": config["x"] ** 2}
