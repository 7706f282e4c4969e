"""Costs that records have already: which cells lack those that a suite asks for, and what states are compared with."""

from __future__ import annotations

from collections.abc import Iterable

from ...leaderboard.costs import Conditions
from ...leaderboard.record import Record
from ..planning.grid import Plan


def lacks_costs(plan: Plan, record: Record | None) -> bool:
    """Whether a cell was measured without the costs that the suite asks for, or with others.

    Its id does not say so: costs change no figure of quality, and are no part of it.
    """
    if plan.cost is None or record is None or record.status != "ok":
        return False
    return Conditions.of(record).workload != plan.cost.workload


def with_costs(plan: Plan, records: Iterable[Record | None]) -> Record | None:
    """The first record that has the costs of the plan, without what else is large in it."""
    if plan.cost is None:
        return None
    measured = (record for record in records if record is not None and record.status == "ok")
    found = next((record for record in measured if not lacks_costs(plan, record)), None)
    return None if found is None else found.model_copy(update={"per_document": {}})
