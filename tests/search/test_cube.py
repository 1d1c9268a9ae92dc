"""The unit cube of a space."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from raytune_yesno.search.cube import UnitCube
from raytune_yesno.space import Domain, Float, Int, build_space

SCALED = [
    Float(0, 0.5, step=0.1),
    Float(0.1, 0.7, step=0.2),
    Int(0, 21, step=7),
    Int(1, 2, log=True),
    Int(1, 256, log=True),
    Int(7, 99, log=True, step=7),
    Int(1, 10**6, log=True),
    Float(0.1, 1, log=True, step=0.1),
    Float(0, 1, step=0.25, prior="normal"),
    Int(0, 100, prior="normal", mean=10, sigma=2),  # most cells have next to no width
    Int(1, 500, prior="lognormal", mean=3, sigma=0.5),
]


@pytest.mark.parametrize("domain", SCALED, ids=str)
@given(st.lists(st.floats(0, 1), max_size=20), st.integers(0, 2**32))
def test_candidates_are_moved_to_where_their_values_are_encoded(
    domain: Domain, some: list[float], seed: int
) -> None:
    middles = [domain.encode(domain.decode(u)) for u in (0.0, 1.0, *some)]
    edges = [u + domain.cell_width(domain.decode(u)) / 2 for u in middles]
    near = [np.nextafter(edge, side) for edge in edges for side in (0, 1) if 0 <= edge <= 1]
    u_C = np.array([0, 1, *some, *near, *np.random.default_rng(seed).random(50)])
    moved_CD = UnitCube(build_space({"x": domain})).snap(u_C[:, None])
    expected = [domain.encode(domain.decode(u)) for u in u_C.tolist()]
    assert moved_CD[:, 0].tolist() == expected
