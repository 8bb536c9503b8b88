"""The statistics of a tensor, one per module; the module's name is that of its column."""
