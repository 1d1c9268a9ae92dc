"""One training run: the loop, checkpoints, resuming, and the workers around the loop."""
