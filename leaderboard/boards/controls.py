"""Controls: what must hold in every grid, whatever is measured. A cell in which one does not hold is marked.

- The dense state is exact: there an SAE loses nothing to compression, all its features survive, and what was fitted on
  dense latents does as well as it did.
- Figures of a state are the same for all SAEs on it: its cross-entropy does not depend on who asks.
- Every real SAE is clearly better than a random one at its site: their intervals do not overlap.
- Probes on shuffled labels are at chance.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

from ..record import Measurement, Record, canonical_json
from .columns import GAP, VARIANCE
from .states import is_dense, is_frozen

_ALWAYS_EXACT = {GAP: 0.0, "perplexity.ce_model_increase": 0.0, "perplexity.kl_model": 0.0}
_EXACT_FOR_FROZEN = {"overlap.survived": 1.0, "overlap.token_jaccard": 1.0, "overlap.activation_drift": 0.0}
_OF_STATE = "perplexity.ce_state"
_SHUFFLED = "probing.accuracy_shuffled"
_TRANSFER = "probing.transfer_"
_CHANCE = 0.5
_SIGMAS = 2.0
"""Half intervals that shuffled labels may be off chance: in a large grid, one or two happen by chance."""


def violations(records: Iterable[Record]) -> dict[str, list[str]]:
    """What does not hold: cell id -> one sentence for each control that the cell violates."""
    found: dict[str, list[str]] = defaultdict(list)
    measured = [record for record in records if record.status == "ok"]
    for record in measured:
        for message in (*_inexact(record), *_off_chance(record)):
            found[record.cell_id].append(message)
    for group in _grouped(measured):
        for record, message in (*_unequal(group), *_no_better_than_random(group)):
            found[record.cell_id].append(message)
    return dict(found)


def _grouped(records: Sequence[Record]) -> list[list[Record]]:
    """Cells of one state, read under one convention."""
    groups: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        spec = record.spec
        groups[canonical_json([spec.model, spec.compressor, spec.calibration, spec.data, spec.seed])].append(record)
    return [groups[key] for key in sorted(groups)]


def _inexact(record: Record) -> Iterator[str]:
    if not is_dense(record):
        return
    own = is_frozen(record) or record.labels.sae_source == "random"
    expected = _ALWAYS_EXACT | (_EXACT_FOR_FROZEN if own else {})
    if own:
        for name in record.metrics:
            fitted_there = record.metrics.get(name.replace(_TRANSFER, "probing."))
            if name.startswith(_TRANSFER) and fitted_there is not None and fitted_there.value is not None:
                expected[name] = fitted_there.value
    for name, exact in expected.items():
        measurement = record.metrics.get(name)
        if measurement is not None and measurement.value is not None and measurement.value != exact:
            yield f"{name} is {measurement.value:.6g} on the dense state, where it must be {exact:.6g} exactly"


def _off_chance(record: Record) -> Iterator[str]:
    shuffled = record.metrics.get(_SHUFFLED)
    if shuffled is None or shuffled.value is None or shuffled.ci is None:
        return
    allowed = _SIGMAS * (shuffled.ci[1] - shuffled.ci[0]) / 2
    if abs(shuffled.value - _CHANCE) > allowed:
        yield f"probes on shuffled labels have an accuracy of {shuffled.value:.3f}, which is not chance ({_CHANCE})"


def _unequal(group: Sequence[Record]) -> Iterator[tuple[Record, str]]:
    values = {record.cell_id: record.metrics[_OF_STATE].value for record in group if _OF_STATE in record.metrics}
    if len(set(values.values())) > 1:
        for record in group:
            if record.cell_id in values:
                yield record, f"{_OF_STATE} differs between SAEs of this state, which share it"


def _no_better_than_random(group: Sequence[Record]) -> Iterator[tuple[Record, str]]:
    for record in group:
        if record.labels.sae_source == "random":
            continue
        for rival in group:
            if rival.labels.sae_source == "random" and rival.spec.site == record.spec.site:
                own, theirs = record.metrics.get(VARIANCE), rival.metrics.get(VARIANCE)
                if not _clearly_above(own, theirs):
                    yield record, f"explains no more variance than the random SAE '{rival.labels.sae}'"


def _clearly_above(first: Measurement | None, second: Measurement | None) -> bool:
    """Whether an interval lies wholly above another; true where there is nothing to compare."""
    if first is None or second is None or first.value is None or second.value is None:
        return True
    low = first.value if first.ci is None else first.ci[0]
    high = second.value if second.ci is None else second.ci[1]
    return low > high
