"""The source: listed, typed, profiled, hashed; never one frame for a big table."""
