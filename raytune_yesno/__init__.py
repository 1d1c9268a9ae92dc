"""Distributed tuning and training of a spoken yes/no recogniser on a Ray cluster."""

__version__ = "0.1.0"
