"""The answer first: what records say about the two claims of arXiv 2507.15977, in computed sentences.

1. A frozen SAE (made for the dense model) still works on a compressed one.
2. Pruning that SAE does as well as training a new one on the compressed model.

A cell counts as better or worse only where its 95 % interval excludes zero. The dense state, random SAEs, and SAEs of
another L0 never count.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

from ..record import Measurement, Record
from ..text import printable
from .averages import mean, turned
from .columns import GAP, INCREASE, SPLICED, SURVIVED
from .facts import training_seconds, training_tokens
from .figures import duration, figure, share
from .paired import nearest, won_back
from .saes import Contest
from .states import State, is_dense, sae_title

_NO_COMPRESSED = "No state here is compressed: these records say nothing about what compression does to SAEs."
_NO_FROZEN = (
    "There is no frozen SAE on a compressed state here: these records cannot tell whether SAEs of the dense model "
    "still work."
)
_NO_MADE = (
    "No SAE here was trained, finetuned or pruned for a compressed state: these records cannot tell what that would "
    "win back."
)


def answer(known: Sequence[State], contests: Sequence[Contest], n_violations: int) -> tuple[str, ...]:
    """The sentences of a comparable group."""
    compressed = [state for state in known if not state.is_dense]
    if not compressed:
        return (_NO_COMPRESSED,)
    fought = [contest for contest in contests if not is_dense(contest.record)]
    told = [*_frozen(compressed), *_made(fought, compressed)]
    if n_violations:
        told.append(f"Mistrust this: {_cells(n_violations)} {'violate' if n_violations > 1 else 'violates'} a control.")
    return tuple(told)


def _frozen(compressed: Sequence[State]) -> Iterator[str]:
    """The first claim."""
    cells = [record for state in compressed for record in state.frozen]
    gaps = _known(cells, GAP)
    if not gaps:
        reasons = sorted({found.reason for cell in cells if (found := cell.metrics.get(GAP)) and found.reason})
        yield f"{_NO_FROZEN if not cells else 'No frozen SAE has a transfer gap here.'}" + "".join(
            f" Reason: {printable(reason)}." for reason in reasons
        )
        return
    saes = sorted({sae_title(cell) for cell, _ in gaps})
    n_states = len({cell.labels.compressor for cell, _ in gaps})
    worst, at_worst = max(gaps, key=lambda found: (found[1].value or 0.0, found[0].cell_id))
    yield (
        f"Frozen SAEs ({', '.join(saes)}) on {_counted(n_states, 'compressed state')}: the transfer gap, what "
        f"they cost there beyond what they cost the dense model, is {figure(mean([gap for _, gap in gaps]))} nats on "
        f"average over {_cells(len(gaps))}; {_verdicts([gap for _, gap in gaps], 'above zero', 'below zero', 'zero')}. "
        f"It is largest on {printable(worst.labels.compressor)} ({figure(at_worst)})."
    )
    helped = sum(cost.ci is not None and cost.ci[1] < 0 for _, cost in _known(cells, SPLICED))
    if helped:
        yield (
            f"In {helped} of these cells the model predicts the text better with the frozen SAE in it than without: "
            "cross-entropy does not tell there how faithful SAEs are; survival and explained variance do."
        )
    increases = [found for state in compressed if (found := _first(state.records, INCREASE))]
    if increases:
        yield f"Compression itself costs the model {figure(mean(increases))} nats on average over these states."
    if survived := _known(cells, SURVIVED):
        cell, least = min(survived, key=lambda found: (found[1].value or 0.0, found[0].cell_id))
        yield (
            f"Of their features {figure(mean([one for _, one in survived]))} survive on average, fewest on "
            f"{printable(cell.labels.compressor)} ({figure(least)})."
        )


def _made(contests: Sequence[Contest], compressed: Sequence[State]) -> Iterator[str]:
    """The second claim."""
    if not contests:
        yield _NO_MADE
        return
    kinds: dict[str, list[Contest]] = defaultdict(list)
    for contest in contests:
        kinds[kind(contest.record)].append(contest)
    for name in sorted(kinds):
        yield _won(name, kinds[name])
        if kinds[name][0].record.labels.sae_source == "pruned":
            yield from _against_native(kinds[name], compressed)


def _won(name: str, contests: Sequence[Contest]) -> str:
    """What SAEs of one kind win back from frozen ones."""
    fair = [contest for contest in contests if contest.matched]
    left_out = len(contests) - len(fair)
    if not fair:
        return f"{name}: none has the L0 of the frozen SAE, so these records cannot tell what they win back."
    won = mean([contest.won for contest in fair])
    cost = [found for contest in fair if (found := contest.frozen.metrics.get(SPLICED)) and found.value is not None]
    aside = f" {_cells(left_out)} of another L0 left out." if left_out else ""
    verdicts = _verdicts([contest.won for contest in fair], "better than the frozen one", "worse", "it")
    return (
        f"{name}{_price([contest.record for contest in fair])} {_outcome(won, mean(cost))}, on average over "
        f"{_cells(len(fair))}; {verdicts}.{aside}"
    )


def _outcome(won: Measurement, cost: Measurement) -> str:
    if (won.value or 0.0) >= 0.0:
        return f"win back {figure(won)} of the {figure(cost)} nats that frozen SAEs cost on the same states"
    return f"cost {figure(turned(won))} nats more than frozen SAEs, which cost {figure(cost)} on the same states"


def _against_native(contests: Sequence[Contest], compressed: Sequence[State]) -> Iterator[str]:
    """Pruned SAEs against those trained on the state: the second claim as the paper makes it."""
    natives = {
        record.cell_id
        for state in compressed
        for record in state.records
        if record.labels.sae_source == "trained" and record not in state.frozen
    }
    found = []
    for contest in contests:
        cells = next(state.records for state in compressed if contest.record in state.records)
        rival = nearest(contest.record, [cell for cell in cells if cell.cell_id in natives])
        if contest.matched and rival is not None and (won := won_back(contest.record, rival)) is not None:
            found.append(won)
    if found:
        verdicts = _verdicts(found, "better than the native one", "worse", "it")
        won = mean(found)
        told = f"{figure(won)} nats less" if (won.value or 0.0) > 0.0 else f"{figure(turned(won))} nats more"
        yield f"That is {told} than native SAEs cost, on average over {_cells(len(found))}; {verdicts}."


def kind(record: Record) -> str:
    """How an SAE was made, in words that can begin a sentence."""
    source, params = record.labels.sae_source, record.spec.sae.get("params")
    if source == "trained":
        return "Native SAEs"
    method = params.get("method") if isinstance(params, dict) else None
    sparsity = params.get("sparsity") if isinstance(params, dict) else None
    how = [printable(method)] if isinstance(method, str) else []
    if isinstance(sparsity, (int, float)) and not isinstance(sparsity, bool):
        how.append(share(float(sparsity)))
    return f"{printable(source).capitalize()} SAEs" + (f" ({', '.join(how)})" if how else "")


def _price(records: Iterable[Record]) -> str:
    """What one of them took to make, on average."""
    known = list(records)
    seconds = [found for record in known if (found := training_seconds(record)) is not None]
    tokens = [found for record in known if (found := training_tokens(record)) is not None]
    if not seconds:
        return ""
    read = f", {sum(tokens) / len(tokens):,.0f} tokens" if tokens else ""
    return f" ({duration(sum(seconds) / len(seconds))}{read} each)"


def _verdicts(figures: Sequence[Measurement], above: str, below: str, unclear: str) -> str:
    """`above zero in 3 of them, below zero in 1, not told apart from zero in 6`."""
    told = [one.ci for one in figures if one.ci is not None]
    more, less = sum(low > 0 for low, _ in told), sum(high < 0 for _, high in told)
    parts = [f"{above} in {more}", f"{below} in {less}", f"not told apart from {unclear} in {len(told) - more - less}"]
    if len(told) < len(figures):
        parts.append(f"without an interval in {len(figures) - len(told)}")
    return ", ".join(parts)


def _known(cells: Iterable[Record], metric: str) -> list[tuple[Record, Measurement]]:
    found = [(cell, cell.metrics[metric]) for cell in cells if cell.status == "ok" and metric in cell.metrics]
    return [(cell, measurement) for cell, measurement in found if measurement.value is not None]


def _first(cells: Iterable[Record], metric: str) -> Measurement | None:
    return next((measurement for _, measurement in _known(cells, metric)), None)


def _cells(count: int) -> str:
    return _counted(count, "cell")


def _counted(count: int, name: str) -> str:
    return f"{count} {name}{'' if count == 1 else 's'}"
