"""Models being trained, and shown a probe on the way."""
