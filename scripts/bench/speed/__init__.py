"""Parts of the measurement of speed, and what they share."""
