"""From a cluster's YAML file to results on this machine: check, start, submit, follow, fetch."""
