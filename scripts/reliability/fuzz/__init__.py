"""What `scripts/fuzz` throws at the readers, and how it judges what they answer."""
