"""Whether runs are the same, to the bit or within a tolerance, and whether they still would be."""
