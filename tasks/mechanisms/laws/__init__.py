"""Laws of an outcome around its mean, and the choice among them."""
