"""The HTML report of a run: self-contained, nothing in it that tells of one row."""
