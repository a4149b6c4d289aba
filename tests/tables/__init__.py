"""Small tables with traits that real ones have, made by code, and what must come of each."""
