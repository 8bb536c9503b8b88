"""The commands of ``runner``, one per module: their arguments, and what they do."""
