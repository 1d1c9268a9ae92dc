"""Search spaces: domains, their text form, and their map to the unit cube.

A space is a dict of domains by name. Every search algorithm works in the unit cube, with one
coordinate per dimension. Only this package deals with log scales, integers, choices, priors, the
parameters of options and constraints.

Example:
    >>> from raytune_yesno.space import Choice, Float, build_space, decode_point
    >>> optimizer = Choice({"adamw": {}, "sgd": {"momentum": Float(0.5, 0.9)}})
    >>> space = build_space({"optimizer": optimizer})
    >>> decode_point(space, [0.2, 0.5])
    {'optimizer': 'adamw'}
    >>> decode_point(space, [0.7, 0.5])
    {'optimizer': 'sgd', 'momentum': 0.7}
"""

from raytune_yesno.space.choice import Choice, Domain, List, Node, find_extremes
from raytune_yesno.space.constraints import Constraint
from raytune_yesno.space.numeric import Float, Int
from raytune_yesno.space.points import (
    check_point,
    complete_point,
    express_point,
    has_options,
    imply_options,
    read_point,
)
from raytune_yesno.space.text_form import format_space, parse_space
from raytune_yesno.space.tree import (
    INACTIVE,
    Dimension,
    Point,
    Space,
    Tree,
    as_tree,
    build_space,
    decode_point,
    encode_point,
    walk,
)

__all__ = [
    "INACTIVE",
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
    "Tree",
    "as_tree",
    "build_space",
    "check_point",
    "complete_point",
    "decode_point",
    "encode_point",
    "express_point",
    "find_extremes",
    "format_space",
    "has_options",
    "imply_options",
    "parse_space",
    "read_point",
    "walk",
]
