"""What `scripts/chaos` is made of: clusters, commands to disturb, faults, and what must be left."""
