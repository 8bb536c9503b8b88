"""What a capture uses of the framework behind Keras: one module or package for each."""
