"""One synthesizer per file; the file name is the key."""
