"""What every training, from scratch or continued, is given."""

from __future__ import annotations

from .entry import Params
from .forms import Count, Positive, Seed


class Budget(Params):
    """How much is trained, and how fast."""

    tokens: Count
    """Activations trained on; those that fill no batch are left out."""
    lr: Positive
    """Adam's learning rate after warming up and before decaying."""
    batch_size: Count
    seed: Seed
    """Of the fresh weights and of the mixing."""

    @property
    def steps(self) -> int:
        """Optimiser steps."""
        return self.tokens // self.batch_size
