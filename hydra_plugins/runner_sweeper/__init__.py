"""Runner's part in Hydra's multirun."""
