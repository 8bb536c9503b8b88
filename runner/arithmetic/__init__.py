"""How one stored value follows from what its layer was given, in plain arithmetic."""
