"""The sources of probes as choices of Hydra's groups."""
