"""From a declared model and a seed to a compiled Keras model."""
