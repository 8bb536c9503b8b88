"""``python -m runner``."""

from runner.entry import script

script()
