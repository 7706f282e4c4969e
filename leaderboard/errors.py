"""The mistake of somebody who hands over records."""

from __future__ import annotations


class RecordError(ValueError):
    """A file or folder that is not what a reader of records can use: says which, what was found, what to do."""
