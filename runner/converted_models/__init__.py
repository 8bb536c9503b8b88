"""Models in files that other runtimes compute."""
