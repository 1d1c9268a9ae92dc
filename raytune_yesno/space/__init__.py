"""Search spaces: domains, their text form, and their map to the unit cube.

A space is a dict of domains by name. Every search algorithm works in the unit cube, with one
coordinate per dimension. Only this package deals with log scales, integers, choices, priors, the
parameters of options and constraints.
"""

from raytune_yesno.space.choice import Choice, Domain, List, Node
from raytune_yesno.space.constraints import Constraint
from raytune_yesno.space.numeric import Float, Int
from raytune_yesno.space.points import check_point, complete_point, express_point, read_point
from raytune_yesno.space.text_form import format_space, parse_space
from raytune_yesno.space.tree import (
    Dimension,
    Point,
    Space,
    as_space,
    build_space,
    decode_point,
    encode_point,
    walk,
)

__all__ = [
    "Choice",
    "Constraint",
    "Dimension",
    "Domain",
    "Float",
    "Int",
    "List",
    "Node",
    "Point",
    "Space",
    "as_space",
    "build_space",
    "check_point",
    "complete_point",
    "decode_point",
    "encode_point",
    "express_point",
    "format_space",
    "parse_space",
    "read_point",
    "walk",
]
