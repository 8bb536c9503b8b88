"""The runtimes of converted models, one per module: its files, and how a model is loaded."""
