"""What is known about a run, and the folder that appears whole or not at all."""
