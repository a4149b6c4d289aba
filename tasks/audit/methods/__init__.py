"""One attack per file; the file name is the key."""
