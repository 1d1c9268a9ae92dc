"""Distributed tuning and training of a spoken yes/no recogniser on a Ray cluster."""

from raytune_yesno.import_path import drop_working_directory, is_run_as_module

__version__ = "0.1.0"

COMMIT = "RAYTUNE_YESNO_COMMIT"
"""The environment variable with the commit that a job runs; results record it."""

if is_run_as_module():
    drop_working_directory()
