"""Fluctuation, truncation and influence functions: what estimates, releases and simulations share."""
