"""Tasks: the protocol that the engine asks for, and the built-in tasks."""
