"""Programs that are measured: each is run by itself, with a task in a JSON file."""
