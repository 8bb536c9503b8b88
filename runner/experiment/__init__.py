"""Running a configured experiment and publishing its results."""
