#!/usr/bin/env python3
"""Record the table that scripts/bench_search replays: train all configurations of
scripts/bench/recording.yaml, whole; write their validation curves to scripts/bench/table.csv.gz.

    python scripts/record_table --out studies/table

The study is one of this project's own, `tune` with no early stopping, one thread a trial. It takes
about half an hour on two free cores. Interrupted, it goes on when it is called again with the same
--out. Needs the environment that scripts/quickstart makes.
"""

import argparse
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from bench.table import RECORDING, TABLE, save_table

from raytune_yesno.study.store import STORE
from raytune_yesno.study.study import load


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="the study's folder")
    parser.add_argument("--table", type=Path, default=TABLE, metavar="FILE", help="what to write")
    parser.add_argument(
        "--export", action="store_true", help="train nothing: write what a study has so far"
    )
    options = parser.parse_args()
    begun = (options.out / STORE).is_file()
    if not options.export and not (begun and load(options.out).refit):
        asked = (
            ["--resume", options.out] if begun else ["--config", RECORDING, "--out", options.out]
        )
        command = [sys.executable, "-m", "raytune_yesno.cli", "tune", *map(str, asked)]
        subprocess.run([*command, "--num-cpus", "2"], check=True)
    num_entries = save_table(load(options.out), options.table)
    size = options.table.stat().st_size / 1000
    print(f"{options.table}: {num_entries} configurations, {size:.0f} kB")


if __name__ == "__main__":
    main()
