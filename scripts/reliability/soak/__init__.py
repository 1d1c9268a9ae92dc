"""A long study under faults, and what each process uses as the trials go by."""
