"""The versions that quickstart and every node of a cluster install."""

import re
from pathlib import Path

TEXT = (Path(__file__).parents[2] / "cluster/constraints.txt").read_text()
PINS = dict(re.findall(r"^([\w.-]+)==(\S+)$", TEXT, flags=re.M))
