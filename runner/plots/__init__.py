"""Figures of arrays and tables, for notebooks and for the report."""
