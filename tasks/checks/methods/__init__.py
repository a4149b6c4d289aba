"""One check per file: the file name is the key."""
