"""Comparison of runs, bit for bit or within a tolerance; verification and repetition of runs."""
