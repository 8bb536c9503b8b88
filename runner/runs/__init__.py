"""Published runs, found and read back."""
