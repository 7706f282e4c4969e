"""Records that somebody hands in: what is wrong with them, and putting those of several people together."""
