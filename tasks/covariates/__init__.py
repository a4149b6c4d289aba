"""The synthesizers of W."""
