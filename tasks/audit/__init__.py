"""Attacks against one release, by somebody who has its source."""
