"""The gates: evidence to metrics, metrics to a verdict."""
