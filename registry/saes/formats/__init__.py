"""SAEs in the formats of other libraries: one file a format, and `shelf.py` that knows them all."""
