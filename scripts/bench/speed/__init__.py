"""Measurements of speed, by part, and what they share."""
