"""What the command line answers with exit code 2."""

from __future__ import annotations


class UsageError(ValueError):
    """A mistake in a command or a suite: says where, what was got, what is allowed, what to do."""
