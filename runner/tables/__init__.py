"""Values as Arrow columns in files, and back."""
