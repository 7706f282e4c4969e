"""Compressors: what turns a model into a smaller or cheaper one, and the proof that it did."""
