"""The scales on which models see losses."""

import numpy as np
import pytest

from raytune_yesno.search.loss_scales import scale_linearly, warp


@pytest.mark.parametrize(
    "losses", [[0.0] * 9 + [1.0, 5.0], [0.25] * 8 + [1e300], [-3.0] * 3 + [7.0], [1.0, 2.0, 3.0]]
)
def test_results_that_differ_differ_on_each_scale(losses):
    for scaled in warp(np.array(losses)):
        assert scaled.std() == pytest.approx(1)
        assert scaled[0] == scaled.min() < scaled[-1] == scaled.max()


def test_one_huge_loss_hides_no_differences():
    few, many = (scale_linearly(np.array([1.0, 2.0, 3.0, 4.0, worst])) for worst in (7.0, 1e15))
    assert few[:4] == pytest.approx(many[:4])


def test_equal_results_are_0():
    assert not np.any(warp(np.full(8, 3.0)))
