"""One configuration from end to end."""
