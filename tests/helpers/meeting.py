"""An objective whose trials wait until trials run on two nodes, however long a process starts."""

from pathlib import Path

TASK = """\
import time
from pathlib import Path

import ray


def meet(config):
    Path({seen!r}, ray.get_runtime_context().get_node_id()).touch()
    while len(list(Path({seen!r}).iterdir())) < 2:
        time.sleep(0.05)
    return {{"loss": config["x"]}}
"""


def write_meeting(folder: Path, trials: int) -> str:
    """Write the task and its space to a folder that all nodes reach; return flags of ``tune``."""
    seen = folder / "seen"
    seen.mkdir(parents=True)
    (folder / "task.py").write_text(TASK.format(seen=str(seen)))
    (folder / "space.yaml").write_text("x: {float: [1, 2]}\n")
    files = f"--task {folder}/task.py:meet --space {folder}/space.yaml"
    return f"{files} --metric loss --mode min --search random --trials {trials}"
