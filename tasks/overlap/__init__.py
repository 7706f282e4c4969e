"""Whether the same latents mean the same on the compressed model: feature overlap between two states, and two SAEs."""
