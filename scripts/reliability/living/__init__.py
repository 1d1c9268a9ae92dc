"""A study that is begun, steered, changed and extended, and killed at every step."""
