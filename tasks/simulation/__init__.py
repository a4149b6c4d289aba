"""Estimators tried on data like the source, whose truth is known."""
