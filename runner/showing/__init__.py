"""Showing a probe to a model, and collecting what its layers return."""
