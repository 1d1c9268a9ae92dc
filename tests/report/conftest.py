"""What the tests of reports share."""

from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True, scope="session")
def small_forests() -> Iterator[None]:
    """Measure importance with few trees: it takes most of the time of a page."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("raytune_yesno.report.importance._TREES", 16)
        patch.setattr("raytune_yesno.report.importance._PERMUTED_TREES", 6)
        yield
