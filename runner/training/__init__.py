"""Training a model and capturing it at chosen steps."""
