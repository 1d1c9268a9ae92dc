"""A study while it runs: plan, Ray Tune around the trials, recorder, stopping, refit."""
