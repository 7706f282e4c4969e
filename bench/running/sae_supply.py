"""The SAEs of a state: loaded, found in the cache, or made there; those that read the same text from one pass over it.

What is made lies in the artifact cache, and so do checkpoints of trainings that are not finished.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from ...leaderboard.record import canonical_json
from ...registry import sites, texts, windows
from ...registry.errors import Impossible, RegistryError
from ...registry.saes import build, lineage
from ...registry.saes.build import Built, Checkpoints, Cost, Order
from ...registry.saes.entry import SaeEntry
from ...registry.sites import Site
from ...registry.texts import nothing_to
from ...registry.windows import Batch
from ..planning.grid import Plan, StatePlan
from .artifact_keys import sae_key
from .artifacts import Artifacts

Supplied = Built | RegistryError | Impossible | LookupError
"""An SAE, or why there is none."""

_COST = "cost.json"
_POSITIONS = 4096
"""Padded positions of a batch: the same wherever it runs, so that what is trained does not depend on the room."""
_MOST_IN_VAIN = 100
"""Batches without a single valid token after which a text is taken to hold nothing but special tokens."""


def needs_no_other_state(entry: SaeEntry) -> bool:
    """Whether an SAE can be had on a state before the dense state has made any."""
    return all(one.on != "dense" for one in lineage.ancestors(entry))


@dataclass(frozen=True)
class SaeSupply:
    """Supplies the SAEs of one state under one BOS convention."""

    plan: Plan
    state: StatePlan
    artifacts: Artifacts
    tokenizer: PreTrainedTokenizerBase
    bos: bool
    offsets: Mapping[str, Float[Tensor, " channel"] | None]
    """Of each pretrained SAE, what it has to know of the dense model's weights."""

    def key(self, entry: SaeEntry) -> dict[str, Any]:
        """Key of an SAE that is made."""
        return sae_key(self.plan, self.state, entry, self.bos)

    def keys_of_dense(self, entries: Iterable[SaeEntry]) -> list[dict[str, Any]]:
        """Keys of what the dense state makes of some entries and of what they are made from."""
        return [self.key(one) for entry in entries for one in lineage.ancestors(entry) if one.on == "dense"]

    def supply(
        self,
        entries: Iterable[SaeEntry],
        known: Mapping[str, Supplied],
        model: PreTrainedModel,
        progress: Callable[[float], None],
    ) -> dict[str, Supplied]:
        """The SAEs of some entries, and of those that they are made from, by name; with those that are known."""
        wanted = {one.name: one for entry in entries for one in lineage.ancestors(entry)}
        supplied = dict(known)
        while left := [entry for entry in wanted.values() if entry.name not in supplied]:
            ready = [entry for entry in left if entry.base is None or entry.base.name in supplied]
            for reads in ("training", "calibration", None):
                group = [entry for entry in ready if entry.reads == reads]
                supplied |= self._supply(group, reads, supplied, model, progress)
        return supplied

    def _supply(
        self,
        entries: Sequence[SaeEntry],
        reads: Literal["training", "calibration"] | None,
        supplied: Mapping[str, Supplied],
        model: PreTrainedModel,
        progress: Callable[[float], None],
    ) -> dict[str, Supplied]:
        """SAEs that read the same text, or none; their bases are among `supplied`."""
        found: dict[str, Supplied] = {}
        orders: dict[str, Order] = {}
        for entry in entries:
            base = None if entry.base is None else supplied[entry.base.name]
            if base is not None and not isinstance(base, Built):
                found[entry.name] = base
            elif reads is not None and self.artifacts.find(self.key(entry)) is not None:
                found[entry.name] = self.kept(entry, str(model.device))
            elif entry.on == "dense" and not self.state.is_dense:
                reason = f"SAE '{entry.name}' is made on the dense state: see why its cell there failed."
                found[entry.name] = LookupError(reason)
            else:
                metadata = build.describe(entry, model.config, self.state.model.name)
                offset = self.offsets.get(entry.name)
                orders[entry.name] = Order(entry, None if base is None else base.sae, metadata, offset)
        if reads is None:
            return found | (self._made(orders, reads, model, progress) if orders else {})
        with self.artifacts.making(self.key(order.entry) for order in orders.values()):
            there = [name for name, order in orders.items() if self.artifacts.find(self.key(order.entry)) is not None]
            found |= {name: self.kept(orders.pop(name).entry, str(model.device)) for name in there}
            return found | (self._made(orders, reads, model, progress) if orders else {})

    def _made(
        self,
        orders: Mapping[str, Order],
        reads: Literal["training", "calibration"] | None,
        model: PreTrainedModel,
        progress: Callable[[float], None],
    ) -> dict[str, Supplied]:
        keys = [self.key(order.entry) for order in orders.values()]
        digest = hashlib.sha256(canonical_json(keys).encode()).hexdigest()[:32]
        checkpoints = Checkpoints(self.artifacts.checkpoints / digest) if reads == "training" else None
        places = {sites.locate(model, order.entry.site): order.entry.site for order in orders.values()}
        try:
            made = build.make_many(
                list(orders.values()),
                None if reads is None else lambda start: self._activations(places, reads, model, start),
                device=str(model.device),
                progress=progress,
                checkpoints=checkpoints,
                forward_flops=2.0 * model.num_parameters(exclude_embeddings=True),
            )
        except RegistryError as error:  # the text: other SAEs of the state may do without it
            return dict.fromkeys(orders, error)
        found: dict[str, Supplied] = {}
        for order, built in zip(orders.values(), made, strict=True):
            if isinstance(built, Built) and reads is not None:
                built = self._keep(order.entry, built, model)
            found[order.entry.name] = built
        if checkpoints is not None:
            shutil.rmtree(checkpoints.folder, ignore_errors=True)
        return found

    def _keep(self, entry: SaeEntry, built: Built, model: PreTrainedModel) -> Built:
        with self.artifacts.create(self.key(entry)) as folder:
            build.save(built.sae, folder)
            (folder / _COST).write_text(json.dumps(asdict(built.cost)), encoding="utf-8")
        return self.kept(entry, str(model.device))

    def kept(self, entry: SaeEntry, device: str) -> Built:
        """One that was made, as it lies in the cache: the same for whoever made it and for whoever finds it."""
        folder = self.artifacts.folder(self.key(entry))
        cost = Cost(**json.loads((folder / _COST).read_text(encoding="utf-8")))
        return Built(build.load_folder(folder, device), cost)

    def _activations(
        self, places: Mapping[Site, Site], reads: Literal["training", "calibration"], model: PreTrainedModel, start: int
    ) -> Iterator[dict[Site, Float[Tensor, "token channel"]]]:
        """Valid activations from the token `start` on, without end.

        Args:
            places: where sites are in this state -> what they are called.
        """
        position = in_vain = 0
        for batch in self._batches(reads):
            n_valid = int(batch.valid.sum())
            in_vain = 0 if n_valid else in_vain + 1
            if in_vain == _MOST_IN_VAIN:
                raise nothing_to(self._text(reads), reads)
            skipped = min(max(start - position, 0), n_valid)
            position += n_valid
            if skipped == n_valid:
                continue
            with torch.inference_mode():
                found = sites.read(model, batch.tokens.to(model.device), list(places))
            # Clones made outside inference mode, since training differentiates through what is read here.
            yield {name: found[place][batch.valid.to(model.device)][skipped:].clone() for place, name in places.items()}

    def _batches(self, reads: Literal["training", "calibration"]) -> Iterator[Batch]:
        text, tokenizer, context = self._text(reads), self.tokenizer, self.plan.suite.data.context
        if next(windows.cut(text.documents(reads), tokenizer, context, self.bos), None) is None:
            raise nothing_to(text, reads)
        endless = texts.endless(text, reads)
        for part in windows.stream(endless, tokenizer, context=context, prepend_bos=self.bos):
            yield from part.batches(_POSITIONS)

    def _text(self, reads: Literal["training", "calibration"]) -> texts.Text:
        return self.plan.training if reads == "training" else self.plan.calibration
