"""Rows as sentences: what a causal language model needs to learn and to write a table."""
