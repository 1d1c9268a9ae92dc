"""Benchmarks: of the searches, where nothing is trained, and of speed."""
