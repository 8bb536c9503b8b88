"""The typed configuration of an experiment, read from YAML and the command line."""
