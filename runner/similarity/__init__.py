"""Whether layers represent the same, unit by unit or not."""
