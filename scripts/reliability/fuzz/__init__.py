"""Damaged input for every reader: how it is made, and how the answers are judged."""
