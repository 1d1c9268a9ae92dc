"""Candidates for a model to choose from, and points that were not tried yet."""

import numpy as np

from raytune_yesno.search.cube import UnitCube, build_numpy_generator


def draw_sobol(cube: UnitCube, seed: int, number: int) -> np.ndarray:
    """Return the row u_D of a trial number in a scrambled Sobol sequence."""
    from scipy.stats.qmc import Sobol

    sequence = Sobol(cube.dim, seed=build_numpy_generator(seed))
    if number:  # fast_forward(0) overflows
        sequence.fast_forward(number)
    return np.asarray(sequence.random(1)[0])


def draw_near(
    cube: UnitCube, generator: np.random.Generator, centre_KD: np.ndarray, num: int
) -> np.ndarray:
    """Return ``num`` candidates u_CD: centres with coordinates that are shifted or drawn again."""
    shape = (num, cube.dim)
    centre_CD = u_CD = centre_KD[generator.integers(len(centre_KD), size=num)]
    step_C1 = 10.0 ** generator.uniform(-3, -0.5, size=(num, 1))
    moved_CD = np.clip(u_CD + step_C1 * generator.standard_normal(shape), 0, 1)
    is_number_D = ~cube.is_choice_D
    u_CD = np.where(is_number_D, moved_CD, u_CD)
    # Redraw one coordinate in D; without such jumps choices would never change.
    jumps_CD = generator.random(shape) < 1 / cube.dim
    jumps_CD &= ~is_number_D | (generator.random(shape) < 0.2)
    drawn_CD = np.where(jumps_CD, generator.random(shape), u_CD)
    if cube.conditions:  # where the centre is not active, the candidate may be
        drawn_CD = np.where(cube.find_active(centre_CD), drawn_CD, generator.random(shape))
    return drawn_CD


def drop_seen(cube: UnitCube, u_CD: np.ndarray, seen: set[bytes]) -> np.ndarray:
    """Return candidates at the middle of their cells; drop known rows if others remain.

    Those that violate a constraint are dropped first, see :func:`drop_invalid`.
    """
    u_CD = drop_invalid(cube, cube.snap(u_CD))
    is_new_C = np.array([row.tobytes() not in seen for row in u_CD])
    return u_CD[is_new_C] if is_new_C.any() else u_CD


def drop_invalid(cube: UnitCube, u_CD: np.ndarray) -> np.ndarray:
    """Return the candidates that satisfy the constraints; all of them if none does."""
    is_valid_C = cube.satisfies(u_CD)
    return u_CD[is_valid_C] if is_valid_C.any() else u_CD
