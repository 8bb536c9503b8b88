"""Saving the tables and the record of a model that is shown a probe."""
