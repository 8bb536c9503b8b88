"""The inputs shown to a model, from wherever they come."""
