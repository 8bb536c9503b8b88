"""The text that commands print in a terminal."""
