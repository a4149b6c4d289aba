"""Many fitted models evaluated in one pass over rows."""
