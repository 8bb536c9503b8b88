"""Keras models, as a capture sees them."""
