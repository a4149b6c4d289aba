"""A chain of boosted conditional laws, learnt in one pass from one byte per cell."""
