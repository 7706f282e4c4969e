"""SAELens' TopK activation, about twice as fast on a CPU.

The k largest of n values lie in the k groups whose maxima are the largest, however the values are dealt out to groups.
So the maxima of groups of 8 are searched first, and then the 8 k values of k groups: n / 8 + 8 k values instead of n.
The largest values are the same; of equal ones at the end, it may keep others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from sae_lens.saes.topk_sae import TopK
from torch import Tensor

if TYPE_CHECKING:
    from sae_lens import SAE, TrainingSAE

_GROUP = 8
_WORTHWHILE = 2
"""So many times more values than candidates there must be."""


class GroupedTopK(TopK):
    """`TopK` by groups, where that is faster."""

    def forward(self, x: Float[Tensor, "*position d_sae"]) -> Float[Tensor, "*position d_sae"]:
        """The k largest of each position, the negative ones of them and all others as 0."""
        d_sae = x.shape[-1]
        if x.device.type != "cpu" or d_sae % _GROUP or _WORTHWHILE * self.k * _GROUP > d_sae:
            return super().forward(x)
        n_groups = d_sae // _GROUP
        by_group = x.reshape(-1, _GROUP, n_groups)  # neighbours lie in different groups: maxima are taken in one sweep
        groups = by_group.amax(dim=1).topk(self.k, dim=1, sorted=False).indices
        candidates = by_group.gather(2, groups[:, None].expand(-1, _GROUP, -1)).flatten(1)
        values, places = candidates.topk(self.k, dim=1, sorted=False)
        latents = groups.gather(1, places % self.k) + places // self.k * n_groups
        return torch.zeros_like(x).view(-1, d_sae).scatter_(1, latents, values.relu()).view_as(x)


def by_groups(sae: SAE[Any] | TrainingSAE[Any]) -> None:
    """Let an SAE find its largest latents by groups, if it is a TopK SAE that does so with dense tensors."""
    activation: Any = sae.activation_fn
    if type(activation) is TopK and not activation.use_sparse_activations:
        sae.activation_fn = GroupedTopK(activation.k)
