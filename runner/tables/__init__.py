"""Writing and reading of tables."""
