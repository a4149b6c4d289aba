"""Numbers every step may need: compiled loops, quantiles of the normal law, Newton steps."""
