"""The typed experiment, and the way to it from YAML and Hydra's command line."""
