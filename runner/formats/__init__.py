"""The file formats of tables, one per module: its properties, and how it is written and read."""
