"""One training run: the loop, checkpoints, resuming, and the TorchTrainer around the loop."""
