"""Reliability campaigns; each has its own --help. All are seeded and print a table.

python scripts/reliability chaos    inject faults into real studies and runs
python scripts/reliability living   kill a study while it is steered, changed and extended
python scripts/reliability soak     thousands of short trials under faults: does anything grow?
python scripts/reliability fuzz     damaged input for every reader
"""

import os
import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).parents[1])  # not this folder, whose names would shadow modules

from shared import run_command  # noqa: E402

if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # fuzz forks processes
    assert __doc__
    sys.exit(run_command("reliability", __doc__, ("chaos", "living", "soak", "fuzz")))
