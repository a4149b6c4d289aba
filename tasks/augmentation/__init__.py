"""Synthetic rows where a treatment arm is missing: where, how many, and whether they lower the expected error."""
