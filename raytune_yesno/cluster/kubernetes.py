"""Rules for KubeRay's manifests that their schema cannot say."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any


def check_manifests(documents: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield what is wrong with the manifests of a cluster."""
    kinds = [document.get("kind") for document in documents]
    if kinds.count("RayJob") != 1:
        yield "exactly one RayJob is expected"
