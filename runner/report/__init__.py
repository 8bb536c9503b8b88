"""One page that shows a run or a sweep, complete in a single file."""
