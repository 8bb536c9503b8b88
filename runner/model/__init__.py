"""Building a compiled Keras model from its declaration and a seed."""
