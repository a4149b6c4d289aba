"""Outcome laws, one file a key."""
