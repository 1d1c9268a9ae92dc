"""Text, JSON, YAML, folders and object stores: defensive reading, atomic writing."""
