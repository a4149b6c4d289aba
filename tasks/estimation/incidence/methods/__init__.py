"""Estimators of one cause's incidence: one file a key."""
