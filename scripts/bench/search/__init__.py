"""Searches compared where the truth is known and nothing is trained."""
