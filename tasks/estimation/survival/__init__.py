"""Estimates of time to event: survival probabilities and restricted means of every arm, and their contrasts."""
