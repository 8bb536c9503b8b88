"""Measures of representational similarity between layers, and their limits."""
