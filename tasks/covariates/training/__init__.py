"""Training with torch: one loop, one optimizer."""
