"""Sequential forests: trees whose leaves hold conditional laws, and draws from them."""
