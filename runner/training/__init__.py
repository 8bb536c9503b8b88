"""Training a model, with a probe shown to it at chosen steps."""
