"""Capturing the outputs of every layer during a forward pass."""
