"""Early stopping: which trials continue, which stop, which are copied."""
