"""Synthesizers of W."""
