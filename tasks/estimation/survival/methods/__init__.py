"""Estimators of survival curves: one file a key."""
