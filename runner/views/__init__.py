"""The views of the report, one per module, with its template and script in files beside it."""
