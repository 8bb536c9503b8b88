"""What every layer puts out during a forward pass."""
