"""Text, JSON, YAML, folders, object stores: read defensively, written whole or not at all."""
