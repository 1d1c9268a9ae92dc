"""Clusters: what their definitions must hold, and what starts and ends them."""
