"""A SPEC proposed for a table without a description: what each column looks like, and why."""
