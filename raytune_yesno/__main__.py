"""The program ``raytune-yesno``, also as ``python -m raytune_yesno``."""

import sys

from raytune_yesno.import_path import drop_working_directory


def main() -> int:
    """Run the command line, with nothing imported from the working directory."""
    drop_working_directory()
    from raytune_yesno import cli

    return cli.main()


if __name__ == "__main__":
    sys.exit(main())
