"""``python -m runner``."""

from runner.command_line.entry import script

script()
