"""A SPEC proposed for a table that nobody has described: what each column looks like, and why."""
