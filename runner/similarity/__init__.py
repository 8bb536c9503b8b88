"""How alike two layers represent the same samples, and how sure one may be of it."""
