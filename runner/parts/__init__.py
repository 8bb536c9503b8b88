"""Making one run in parts, and joining them."""
