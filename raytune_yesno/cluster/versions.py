"""The versions that every node of a cluster runs: nowhere else may they be chosen.

``cluster/constraints.txt`` pins the packages to these and to what was tested with them.
"""

from importlib.metadata import version

PYTHON = "3.11"
"""Python of the nodes: the one that the constraints were made with."""


def ray_version() -> str:
    """Return the version of Ray that is installed here, which the nodes must have, too."""
    return version("ray")
