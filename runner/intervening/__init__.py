"""Interventions: what is done to the outputs of layers, and what it does to the model's outputs."""
