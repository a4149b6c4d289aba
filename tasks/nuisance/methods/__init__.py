"""Learners of g and Q: one file each, the file name is the key."""
