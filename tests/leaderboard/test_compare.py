"""The verdict of the gate: what is found, what is not, and what is not judged."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from saetransfer.leaderboard.gate.compare import compare
from saetransfer.leaderboard.gate.judging import Rules
from saetransfer.leaderboard.gate.paired import PAIRED
from saetransfer.leaderboard.gate.timing import differ
from saetransfer.leaderboard.gate.tolerance import Tolerances, parse
from saetransfer.leaderboard.gate.verdict import Class, Finding, Verdict
from saetransfer.leaderboard.record import Hardware, Record
from tests.leaderboard.examples import spec
from tests.leaderboard.measured import (
    GAP,
    GAUGES,
    INCREASE,
    MACHINE,
    RECOVERED,
    TOLERANCE,
    failed,
    measured,
    sums,
    with_figures,
)

LATENCY, PEAK = "cost.latency_ms", "cost.peak_bytes"
NOISE = 0.02
"""Of a document, in nats; over 60 documents about a quarter of the tolerance."""


def verdict(base: Sequence[Record], new: Sequence[Record], **tolerances: str) -> Verdict:
    given = Tolerances({name.replace("__", "."): parse(text) for name, text in tolerances.items()})
    return compare(base, new, Rules(GAUGES, given))


def only(found: Verdict) -> Finding:
    (finding,) = found.findings
    return finding


def test_planted_regressions_are_found_and_reruns_are_not_called_one_in_100_of_100_seeds() -> None:
    planted, reruns = [], []
    for seed in range(100):
        base = [measured(per_document=sums(seed))]
        planted.append(only(verdict(base, [measured(per_document=sums(seed, 2 * TOLERANCE, NOISE))])).verdict)
        reruns.append(only(verdict(base, [measured(per_document=sums(seed, 0.0, NOISE))])).verdict)
    assert planted == [Class.REGRESSED] * 100
    assert reruns == [Class.SAME] * 100


def test_an_improvement_is_the_same_the_other_way_round() -> None:
    found = only(verdict([measured(per_document=sums(3, 2 * TOLERANCE))], [measured(per_document=sums(3))]))
    assert (found.verdict, found.note) == (Class.IMPROVED, PAIRED)
    assert found.step == pytest.approx(-2 * TOLERANCE)
    assert found.interval == pytest.approx((-2 * TOLERANCE, -2 * TOLERANCE), abs=1e-9)


def test_a_step_beyond_the_tolerance_within_its_noise_is_none() -> None:
    """The interval includes zero: a step of 0.02 nats where single documents move by a whole nat."""
    base, new = measured(per_document=sums(5)), measured(per_document=sums(5, 0.0, noise=1.0))
    found = only(verdict([base], [new]))
    assert found.step is not None
    assert found.interval is not None
    assert abs(found.step) > TOLERANCE
    assert found.interval[0] < 0.0 < found.interval[1]
    assert found.verdict is Class.SAME


def test_a_certain_step_within_the_tolerance_is_none() -> None:
    base, new = measured(per_document=sums(5)), measured(per_document=sums(5, 0.9 * TOLERANCE))
    assert only(verdict([base], [new])).verdict is Class.SAME
    assert only(verdict([base], [new], perplexity__ce_splice_increase="0.008")).verdict is Class.REGRESSED


def test_documents_are_paired_although_the_values_alone_would_say_nothing() -> None:
    found = only(verdict([measured(per_document=sums(1))], [measured(per_document=sums(1, 0.012))]))
    assert found.verdict is Class.REGRESSED
    without = [measured(per_document=sums(1, shift)).model_copy(update={"per_document": {}}) for shift in (0.0, 0.012)]
    alone = only(verdict(without[:1], without[1:]))
    assert (alone.verdict, alone.note) == (Class.SAME, "intervals of both values")


def test_a_gap_is_paired_with_the_dense_cells_of_its_own_side() -> None:
    def side(shift: float) -> list[Record]:
        dense, cell = sums(1), sums(1, 0.05 + shift)
        gap = with_figures({GAP: (0.05 + shift, (0.0, 0.2))}, compressor="wanda", per_document=cell)
        return [measured(per_document=dense), gap]

    found = next(one for one in verdict(side(0.0), side(0.03)).findings if one.metric == GAP)
    assert (found.verdict, found.note) == (Class.REGRESSED, PAIRED)


def test_sums_that_do_not_give_the_value_are_not_used() -> None:
    base = measured(per_document=sums(1))
    tampered = base.model_copy(update={"per_document": sums(1, 0.5)})
    assert only(verdict([base], [tampered])).note == "intervals of both values"


@pytest.mark.parametrize(
    ("new", "expected"),
    [
        (0.93, Class.REGRESSED),
        (0.99, Class.IMPROVED),
        (0.955, Class.SAME),
    ],
)
def test_higher_is_better_where_the_metric_says_so(new: float, expected: Class) -> None:
    base = with_figures({RECOVERED: (0.96, (0.959, 0.961))})
    found = only(verdict([base], [with_figures({RECOVERED: (new, (new - 0.001, new + 0.001))})]))
    assert found.verdict is expected


def test_without_an_interval_or_a_better_direction_a_large_step_is_told_but_not_judged() -> None:
    base, new = with_figures({RECOVERED: (0.9, None)}), with_figures({RECOVERED: (0.5, None)})
    assert "no interval" in only(verdict([base], [new])).note
    assert only(verdict([base], [new])).verdict is Class.NOT_COMPARABLE
    base, new = (with_figures({"perplexity.ce_zero": (value, (value, value))}) for value in (7.0, 9.0))
    assert "neither direction" in only(verdict([base], [new])).note
    assert verdict([base], [new]).exit_code == 0


def test_a_metric_can_be_left_alone() -> None:
    base, new = measured(per_document=sums(5)), measured(per_document=sums(5, 1.0))
    assert verdict([base], [new], **{"perplexity__*": "ignore"}).findings == ()


def test_cells_that_come_go_fail_and_are_mended() -> None:
    cells = {name: measured(name) for name in ("dense", "wanda", "rtn", "awq")}
    base = [cells["dense"], cells["wanda"], failed("rtn"), failed("awq")]
    new = [cells["rtn"], failed("wanda"), failed("awq"), measured("gptq")]
    found = {one.cell.split("/")[1]: one for one in verdict(base, new).findings}
    assert {name: one.verdict for name, one in found.items()} == {
        "dense": Class.MISSING,
        "wanda": Class.NEWLY_FAILING,
        "rtn": Class.FIXED,
        "awq": Class.NOT_COMPARABLE,
        "gptq": Class.NEW,
    }
    assert "out of memory" in found["wanda"].note


@pytest.mark.parametrize(
    ("base", "new", "code"),
    [
        ([measured()], [measured()], 0),
        ([measured()], [measured(), measured("wanda")], 0),
        ([failed()], [failed()], 0),
        ([measured()], [measured(per_document=sums(0, 1.0))], 1),
        ([measured()], [failed()], 1),
        ([measured(), measured("wanda")], [measured()], 3),
        ([measured()], [measured(), failed("wanda")], 3),
    ],
)
def test_exit_codes(base: list[Record], new: list[Record], code: int) -> None:
    assert verdict(base, new).exit_code == code


def test_a_figure_that_is_lost_counts_as_failing_and_one_that_is_not_measured_as_missing() -> None:
    base = with_figures({INCREASE: (0.1, None), RECOVERED: (0.9, None)})
    lost = base.metrics[INCREASE].model_copy(update={"value": None, "reason": "not finite"})
    found = verdict([base], [base.model_copy(update={"metrics": {INCREASE: lost}})]).findings
    assert [(one.metric, one.verdict) for one in found] == [
        (INCREASE, Class.NEWLY_FAILING),
        (RECOVERED, Class.MISSING),
    ]
    assert "not finite" in found[0].note


def test_only_the_same_version_and_settings_of_a_task_are_compared() -> None:
    newer = spec(tasks={"perplexity": {"version": 2}, "overlap": {"version": 1}})
    found = verdict([measured()], [measured(per_document=sums(0, 1.0), spec=newer)]).findings
    assert [(one.metric, one.verdict) for one in found] == [
        ("perplexity.*", Class.NOT_COMPARABLE),
        ("reconstruction.*", Class.MISSING),
        ("overlap.*", Class.NEW),
    ]


def test_cells_are_matched_by_what_they_measure_and_what_is_under_test_may_change() -> None:
    changed = spec(compressor=[{"method": "mine.py:shrink", "code": "other"}])
    base = measured("mine", spec=spec(compressor=[{"method": "mine.py:shrink", "code": "one"}]))
    found = verdict([base], [measured("mine", per_document=sums(0, 1.0), spec=changed)])
    assert only(found).verdict is Class.REGRESSED
    assert "compressor.0.code: one -> other" in found.notes[0]


@pytest.mark.parametrize(
    "changes",
    [
        {"data": {"text": "another", "tokens": 16384}},
        {"seed": 1},
        {"site": "blocks.1.hook_resid_post"},
        {"model": {"tokenizer": "another"}},
    ],
)
def test_another_text_site_seed_or_tokenizer_is_not_comparable(changes: dict[str, Any]) -> None:
    found = verdict([measured()], [measured(per_document=sums(0, 1.0), spec=spec(**changes))])
    assert only(found).verdict is Class.NOT_COMPARABLE
    assert next(iter(changes)) in only(found).note
    assert found.exit_code == 0
    assert found.digest.startswith("Nothing could be compared")


def timed(repeats: Sequence[float], machine: Hardware = MACHINE, peak: float = 1e9, **changes: Any) -> Record:
    figures = {LATENCY: (sorted(repeats)[len(repeats) // 2], None), PEAK: (peak, None)}
    return with_figures(
        figures,
        spec=spec(tasks={"cost": {"version": 1}}),
        environment={"hardware": machine.model_dump(mode="json"), "device": "cpu", "threads": 2, "jobs": 1},
        details={"cost": {"repeats": {LATENCY: list(repeats)}}},
        **changes,
    )


def of(found: Verdict, metric: str) -> Class:
    return next(one.verdict for one in found.findings if one.metric == metric)


FAST = [10.0, 10.1, 10.2, 9.9, 10.3, 10.0, 10.1]


def test_a_time_regresses_by_the_factor_and_only_if_its_repeats_differ() -> None:
    assert of(verdict([timed(FAST)], [timed([1.2 * one for one in FAST])]), LATENCY) is Class.REGRESSED
    assert of(verdict([timed([1.2 * one for one in FAST])], [timed(FAST)]), LATENCY) is Class.IMPROVED
    assert of(verdict([timed(FAST)], [timed([1.05 * one for one in FAST])]), LATENCY) is Class.SAME
    noisy = [9.0, 14.0, 8.5, 12.5, 10.0, 13.0, 9.5]
    assert of(verdict([timed(noisy)], [timed([1.15 * one for one in noisy])]), LATENCY) is Class.SAME


def test_with_too_few_repeats_nothing_is_said_of_a_time() -> None:
    found = verdict([timed([10.0, 10.1])], [timed([20.0, 20.1])])
    assert of(found, LATENCY) is Class.NOT_COMPARABLE
    assert found.exit_code == 0


def test_five_repeats_that_lie_wholly_apart_differ() -> None:
    assert differ([1.0] * 5, [2.0] * 5) is True
    assert differ([1.0, 1.0, 1.0, 1.0, 3.0], [2.0] * 5) is False
    assert differ([1.0] * 4, [2.0] * 5) is None


def test_memory_is_judged_by_its_tolerance() -> None:
    assert of(verdict([timed(FAST)], [timed(FAST, peak=1.04e9)]), PEAK) is Class.SAME
    assert of(verdict([timed(FAST)], [timed(FAST, peak=1.06e9)]), PEAK) is Class.REGRESSED


def test_other_hardware_is_not_comparable_and_never_a_failure() -> None:
    elsewhere = MACHINE.model_copy(update={"cpu": "another"})
    found = verdict([timed(FAST)], [timed([9 * one for one in FAST], elsewhere, peak=9e9)])
    assert only(found).verdict is Class.NOT_COMPARABLE
    assert "2 costs: other hardware" in only(found).note
    assert found.exit_code == 0


def test_what_is_skipped_on_other_hardware_is_not_lost_but_on_the_same_it_is() -> None:
    skipped = {"status": "skipped", "metrics": {}, "error": failed().error}
    base, here = timed(FAST), timed(FAST).model_copy(update=skipped)
    there = timed(FAST, MACHINE.model_copy(update={"cpu": "another"})).model_copy(update=skipped)
    assert only(verdict([base], [there])).verdict is Class.NOT_COMPARABLE
    assert only(verdict([base], [here])).verdict is Class.MISSING


def test_quality_is_compared_on_any_hardware() -> None:
    elsewhere = {"hardware": MACHINE.model_copy(update={"cpu": "another"}).model_dump(mode="json")}
    assert only(verdict([measured()], [measured(environment=elsewhere)])).verdict is Class.SAME


@pytest.mark.parametrize("text", ["", "x", "-1", "5%%", "nan", "inf", "5 percent", "1e999"])
def test_a_tolerance_that_is_none_is_refused_with_what_is_allowed(text: str) -> None:
    with pytest.raises(ValueError, match="a share of the base value"):
        parse(text)
