"""Probing: what linear probes read off an SAE's latents, and whether they still read it after compression."""
