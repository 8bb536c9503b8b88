"""The ways in from a shell."""
