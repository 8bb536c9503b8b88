"""The record of a run, and the atomic publication of its folder."""
