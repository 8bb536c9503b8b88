"""The measures of similarity, one per module: how each is computed, and what is known of it."""
