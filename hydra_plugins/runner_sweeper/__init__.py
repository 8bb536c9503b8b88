"""Runner's sweeper and launcher for Hydra's multirun."""
