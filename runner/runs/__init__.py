"""Finding and reading published runs."""
