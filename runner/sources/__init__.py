"""The sources of probes, one per module: its keys, its documentation and how it is opened."""
