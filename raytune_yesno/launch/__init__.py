"""From a cluster's YAML file to results on this disk: check, start, ship, submit, fetch."""
