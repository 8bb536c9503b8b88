"""The reductions of activations, one per module: its options, and what it computes."""
