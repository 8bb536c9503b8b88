"""Modules of PyTorch, as a capture sees them."""
