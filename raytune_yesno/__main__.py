"""The program ``raytune-yesno``, also as ``python -m raytune_yesno``."""

import gc
import sys

from raytune_yesno.import_path import drop_working_directory


def main() -> int:
    """Run the command line, with nothing imported from the working directory."""
    drop_working_directory()
    # Importing PyTorch and Ray makes half a million objects that live to the end. With Python's
    # defaults, looking at them for garbage takes a quarter of the imports, and as much at the exit.
    gc.set_threshold(100_000, 50, 100)
    from raytune_yesno import cli
    from raytune_yesno.signals import end_at_signals

    try:
        return cli.main()
    finally:
        end_at_signals()  # nothing is left to be saved
        gc.freeze()


if __name__ == "__main__":
    sys.exit(main())
