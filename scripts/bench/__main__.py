"""Benchmarks; each has its own --help.

python scripts/bench search    search algorithms, where the truth is known and nothing is trained
python scripts/bench speed     overhead, start-up, the step and growth, beside peers and the limit
"""

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).parents[1])  # not this folder, whose names would shadow modules

from shared import run_command  # noqa: E402

if __name__ == "__main__":
    assert __doc__
    sys.exit(run_command("bench", __doc__, ("search", "speed")))
