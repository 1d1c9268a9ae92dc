"""Distributed tuning and training of a spoken yes/no recogniser on a Ray cluster."""

__version__ = "0.1.0"

COMMIT = "RAYTUNE_YESNO_COMMIT"
"""The environment's variable that says which commit a job runs; results name it."""
