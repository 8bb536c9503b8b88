"""Probes: the inputs shown to a model, from all sources."""
