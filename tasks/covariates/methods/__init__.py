"""One synthesizer a file: the file name is the key."""
