"""The mistakes of somebody who hands over records, or a page that boards are to be put into."""

from __future__ import annotations


class RecordError(ValueError):
    """A file or folder that is not what a reader of records can use: says which, what was found, what to do."""


class PageError(ValueError):
    """A page that a section cannot be put into: says what it must hold."""
