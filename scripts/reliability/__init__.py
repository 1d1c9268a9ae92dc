"""Reliability campaigns: real faults, a long study under faults, and damaged input."""
