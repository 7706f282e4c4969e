"""What can be compared: models, compressors, SAEs and texts. Knows nothing of the other folders."""
