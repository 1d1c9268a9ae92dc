"""Run a study: plan, Ray Tune and its trials, recorder, stop conditions, refit and replay."""
