"""Perturbation: what ablating latents does to linear probes (TPP and SCR)."""
