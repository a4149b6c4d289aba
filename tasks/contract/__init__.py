"""The nouns that cross a task boundary: the only vocabulary steps, infra and flows share."""
