"""Fitted models that a release keeps: sealed with the user's key, opened to draw further rows without the source."""
