"""The arithmetic of one stored value, from its layer's inputs and weights."""
