"""Two dictionaries compared: how near each latent of one comes to any latent of the other.

    nearest_i = max_j similarity(i, j),    mean over i: "mean max cosine similarity" (MMCS) for decoder directions

Source of MMCS: Sharkey, Braun and Millidge, "Taking features out of superposition with sparse autoencoders" (2022).
The same by the Pearson correlation of activations on the same tokens, which also finds latents that fire alike and
write in other directions. Two latents are mutual nearest neighbours where each is the nearest of the other.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ..firings import Firings, summed
from .pearson import spread_of

MOST_PAIRS = 2**24
"""Pairs of latents whose products are summed, 8 bytes each: two dictionaries of 4,096 latents."""
TOO_MANY_PAIRS = "{own} x {other} latents are more than the {most} pairs whose correlation is kept in memory"
NOT_FINITE_DECODER = "not finite: a decoder holds NaN or infinity"

_FEW = 0.05
"""Share of latents that fire up to which a CPU is faster with those alone: 10 times at 2 %, with 1,024 latents."""
_MOST_AT_ONCE = 2**22
"""Similarities in memory at a time, where no pair needs to be kept. They lie in one buffer: what is allocated and freed
in turn with small results leaves holes in the heap of a CPU's process that nothing fits into again."""


@dataclass(frozen=True)
class Nearest:
    """For each latent of two dictionaries, the nearest of the other one."""

    own: Float[np.ndarray, " own"]
    """Similarity of each own latent to its nearest; NaN for latents that have no similarity to any."""
    other: Float[np.ndarray, " other"]
    mutual: Bool[np.ndarray, " own"]
    """Whether the nearest of my nearest is me."""

    def mutual_share(self, threshold: float) -> float:
        """Share of own latents that are mutual nearest neighbours with a similarity above the threshold."""
        return float((self.mutual & (self.own > threshold))[np.isfinite(self.own)].mean())


def nearest(
    similarity: Callable[[slice], Float[Tensor, "row other"]],
    own: Bool[Tensor, " own"],
    other: Bool[Tensor, " other"],
) -> Nearest:
    """The nearest latents, from some rows of similarities at a time.

    Args:
        similarity: of the own latents in a slice to all others.
        own: which of them have any.
        other: likewise of the other dictionary.
    """
    best_own = torch.full((len(own),), -torch.inf, device=own.device)
    best_other = torch.full((len(other),), -torch.inf, device=own.device)
    found_own, found_other = torch.zeros_like(own, dtype=torch.long), torch.zeros_like(other, dtype=torch.long)
    own_excluded, other_excluded = (torch.where(side, 0.0, -torch.inf) for side in (own, other))
    slices = _slices(len(own), len(other))
    buffer = torch.empty(slices[0].stop, len(other), device=own.device) if slices else own_excluded
    for rows in slices:
        found = buffer[: rows.stop - rows.start].copy_(similarity(rows))
        found.add_(own_excluded[rows, None]).add_(other_excluded)
        best_own[rows], found_own[rows] = found.max(dim=1)
        highest, row = found.max(dim=0)
        better = highest > best_other
        best_other = torch.where(better, highest, best_other)
        found_other = torch.where(better, row + rows.start, found_other)
    mutual = (found_other[found_own] == torch.arange(len(own), device=own.device)) & torch.isfinite(best_own)
    return Nearest(_finite(best_own), _finite(best_other), mutual.cpu().numpy())


def _slices(n_rows: int, n_columns: int) -> list[slice]:
    at_once = max(1, _MOST_AT_ONCE // n_columns)
    return [slice(start, min(start + at_once, n_rows)) for start in range(0, n_rows, at_once)]


def _finite(best: Float[Tensor, " latent"]) -> Float[np.ndarray, " latent"]:
    return torch.where(torch.isfinite(best), best, torch.nan).double().cpu().numpy()


def by_direction(own: Float[Tensor, "own d_in"], other: Float[Tensor, "other d_in"]) -> Nearest:
    """Nearest latents by the cosine of their decoder directions; a direction of zeros has none."""
    own, other = own.float(), other.float()
    own_norm, other_norm = own.norm(dim=1), other.norm(dim=1)
    own_unit, other_unit = _unit(own, own_norm), _unit(other, other_norm)
    return nearest(lambda rows: own_unit[rows] @ other_unit.T, own_norm > 0, other_norm > 0)


def highest_cosine(decoder: Float[Tensor, "d_sae d_in"]) -> Float[np.ndarray, " d_sae"]:
    """The highest cosine of each latent's decoder direction with that of any other latent of the same dictionary."""
    norm = decoder.float().norm(dim=1)
    unit = _unit(decoder.float(), norm)
    slices = _slices(len(unit), len(unit))
    buffer = torch.empty(slices[0].stop, len(unit), device=unit.device)
    best = torch.empty(len(unit), device=unit.device)
    for rows in slices:
        found = torch.matmul(unit[rows], unit.T, out=buffer[: rows.stop - rows.start])
        found.diagonal(rows.start).fill_(-torch.inf)
        best[rows] = found.amax(dim=1)
    return _finite(best)


def _unit(decoder: Float[Tensor, "d_sae d_in"], norm: Float[Tensor, " d_sae"]) -> Float[Tensor, "d_sae d_in"]:
    return decoder / torch.where(norm > 0, norm, 1.0)[:, None]


class PairSums:
    """Sums for the correlation of every latent of one SAE with every latent of another, on the same tokens."""

    def __init__(self, d_own: int, d_other: int) -> None:
        self._n_tokens = 0
        self._product: Float[Tensor, "own other"] | None = None
        self._own = _Moments(d_own)
        self._other = _Moments(d_other)

    def add(
        self,
        own: Float[Tensor, "token own"],
        other: Float[Tensor, "token other"],
        own_fired: Firings,
        other_fired: Firings,
    ) -> None:
        """Add a batch: products over its tokens in float32, across batches in float64."""
        self._n_tokens += len(own)
        self._own.add(own_fired)
        self._other.add(other_fired)
        product = _product(own, own_fired, other)
        self._product = product.double() if self._product is None else self._product.add_(product)

    def finite(self) -> bool:
        """Whether all sums are finite."""
        return bool(torch.isfinite(self._own.sums).all() and torch.isfinite(self._other.sums).all())

    def nearest(self, min_firings: int) -> Nearest:
        """Nearest latents by correlation, among those that fire at least so often and vary."""
        assert self._product is not None, "there is no batch"
        own_spread, other_spread = self._own.spread(self._n_tokens), self._other.spread(self._n_tokens)
        product = self._product

        def similarity(rows: slice) -> Float[Tensor, "row other"]:
            both = self._n_tokens * product[rows] - torch.outer(self._own.sums[0, rows], self._other.sums[0])
            return (both / torch.outer(own_spread[rows].sqrt(), other_spread.sqrt())).nan_to_num().clip(-1, 1).float()

        own, other = self._own.active(min_firings, own_spread), self._other.active(min_firings, other_spread)
        return nearest(similarity, own, other)


def _product(
    own: Float[Tensor, "token own"], fired: Firings, other: Float[Tensor, "token other"]
) -> Float[Tensor, "own other"]:
    """own^T other."""
    if own.device.type != "cpu" or len(fired.token) > _FEW * own.numel():
        return own.T @ other
    places = torch.stack([fired.latent, fired.token])
    size = (own.shape[1], len(own))
    return torch.sparse_coo_tensor(places, fired.value.float(), size, check_invariants=False) @ other


class _Moments:
    """Sums of the latents of one SAE: of values, of their squares, of firings."""

    def __init__(self, n_latents: int) -> None:
        self._n_latents = n_latents
        self._sums: Float[Tensor, "3 latent"] | None = None

    def add(self, fired: Firings) -> None:
        values = (fired.value, fired.value.square(), None)
        found = torch.stack([summed(fired.latent, value, self._n_latents) for value in values])
        self._sums = found if self._sums is None else self._sums + found

    @property
    def sums(self) -> Float[Tensor, "3 latent"]:
        assert self._sums is not None, "there is no batch"
        return self._sums

    def spread(self, n_tokens: int) -> Float[Tensor, " latent"]:
        total, squared, _ = self.sums.cpu().numpy()
        return torch.as_tensor(spread_of(total, squared, n_tokens), device=self.sums.device)

    def active(self, min_firings: int, spread: Float[Tensor, " latent"]) -> Bool[Tensor, " latent"]:
        return (self.sums[2] >= min_firings) & (spread > 0)
