"""The objects that a configuration chooses by name, as choices of Hydra's groups."""
