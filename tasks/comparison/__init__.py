"""Synthesizers side by side: how they look, what they predict, how close they come to real rows, and what they do to the effect."""
