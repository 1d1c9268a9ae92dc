"""Faults injected into real work: a cluster, commands to disturb, faults, and what must hold."""
