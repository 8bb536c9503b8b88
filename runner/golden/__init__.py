"""Golden activations: what a test keeps of every layer, to notice that a value changed."""
