"""Damaged input for every reader, and the verdict on each response."""
