"""A store as static pages: its releases, what they say of the effect, how versions differ, and what was rejected."""
