"""Random search spaces: choices with parameters of their own, lists, steps, priors."""

from typing import Any

from hypothesis import strategies as st

from raytune_yesno.space import Choice, Float, Int, List, Tree, build_space

LEAVES = st.one_of(
    st.builds(Float, st.floats(-5, 0), st.floats(1, 5)),
    st.builds(Float, st.floats(1e-4, 1e-2), st.floats(0.1, 1), st.just(True)),
    st.builds(Float, st.just(0.0), st.floats(1, 3), step=st.sampled_from([0.1, 0.25, 0.3])),
    st.builds(Float, st.just(1e-5), st.just(1.0), prior=st.just("lognormal"), mean=st.just(1e-3)),
    st.builds(Int, st.integers(-3, 0), st.integers(1, 9), prior=st.sampled_from(["", "normal"])),
    st.builds(Int, st.integers(1, 4), st.integers(5, 40), st.booleans()),
    st.builds(Int, st.just(16), st.integers(32, 128), st.booleans(), step=st.just(16)),
    st.sampled_from([Choice("a", "b", "c"), Choice(1, 2.5, None), Choice([4, 8], [8, 16])]),
    st.just(Choice("fixed")),
)


@st.composite
def trees(draw: Any, *, discrete: bool = False) -> Tree:
    """Draw a space of a few parameters, nested up to three levels deep."""
    count = iter(range(1000))

    def draw_nodes(depth: int, least: int) -> dict[str, Any]:
        nodes: dict[str, Any] = {}
        for _ in range(draw(st.integers(least, 3 - depth // 2))):
            name = f"p{next(count)}"
            kind = draw(st.integers(0, 3))
            if kind == 0 and depth < 3:
                options = draw(
                    st.sampled_from([("x", "y"), ("x",), (1, 2.5, True), ([2, 4], None)])
                )
                branches = [draw_nodes(depth + 1, 0) for _ in options]
                nodes[name] = Choice.from_options(options, branches)
            elif kind == 1:
                low = draw(st.integers(0, 2))
                leaf = draw(LEAVES if not discrete else st.just(Int(1, 2)))
                nodes[name] = List(leaf, low, draw(st.integers(low, 3)))
            else:
                nodes[name] = draw(LEAVES if not discrete else st.sampled_from([Int(1, 3)]))
        return nodes

    return build_space(draw_nodes(0, 1))
