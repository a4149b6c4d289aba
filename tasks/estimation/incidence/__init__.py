"""Estimates of a time to event with competing causes: incidence of one cause and time lost to it, by arm."""
