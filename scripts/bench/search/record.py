"""Record the table that the part ``table`` replays: train every configuration of recording.yaml."""

import subprocess
import sys
from pathlib import Path

from bench.search.table import RECORDING, TABLE, save_table
from raytune_yesno.study import load
from raytune_yesno.study.store import STORE


def record_table(out: Path, table: Path = TABLE) -> str:
    """Train the study in a folder, resuming it if it has begun, and write the table.

    Early stopping is off, and each trial trains on one thread: half an hour on two free cores.

    Returns:
        A line about the table.
    """
    begun = (out / STORE).is_file()
    if not (begun and load(out).refit):
        asked = ["--resume", out] if begun else ["--config", RECORDING, "--out", out]
        command = [sys.executable, "-m", "raytune_yesno", "tune", *map(str, asked)]
        subprocess.run([*command, "--num-cpus", "2"], check=True)
    num_entries = save_table(load(out), table)
    return f"{table}: {num_entries} configurations, {table.stat().st_size / 1000:.0f} kB"
