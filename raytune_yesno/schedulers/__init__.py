"""Schedulers: which trials continue, which stop, and which are copied."""
