"""Costs are compared within one machine, used in one way, on one workload; everywhere else there is a reason."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from saetransfer.leaderboard.costs import Conditions, incomparable, repeats
from saetransfer.leaderboard.record import Hardware, Record, parse, to_json
from tests.leaderboard.examples import record

MACHINE = Hardware(cpu="a processor", cores=2, threads=4, memory_gib=24, gpus=(), system="Linux x86_64")
WORKLOAD = {"version": 1, "context": 128}
USED = {"device": "cpu", "threads": 2, "jobs": 1}


def made_on(machine: Hardware | None = MACHINE, workload: Any = WORKLOAD, **used: Any) -> Record:
    environment = {**USED, **used} | ({} if machine is None else {"hardware": machine.model_dump(mode="json")})
    return record(environment=environment, details={"cost": {"workload": workload, "repeats": {"cost.x": [1.0, 2.0]}}})


def test_the_machine_is_read_back_from_a_record_and_its_fingerprint_follows_from_it() -> None:
    read = parse(to_json(made_on())).hardware
    assert read == MACHINE
    assert read.fingerprint == MACHINE.fingerprint
    assert MACHINE.model_copy(update={"gpus": ("H100",)}).fingerprint != MACHINE.fingerprint


def test_a_later_version_may_say_more_of_a_machine_and_an_older_one_nothing() -> None:
    content = json.loads(to_json(made_on()))
    content["environment"]["hardware"]["cache_mib"] = 32
    assert parse(json.dumps(content)).hardware == MACHINE
    content["environment"]["hardware"] = {"cpu": "a processor"}
    assert parse(json.dumps(content)).hardware is None
    assert made_on(None).hardware is None


def test_costs_of_one_machine_used_alike_can_be_compared() -> None:
    assert incomparable(made_on(), made_on()) is None
    assert Conditions.of(made_on()).key == Conditions.of(made_on()).key


@pytest.mark.parametrize(
    ("other", "why"),
    [
        (made_on(None), "does not say on what hardware"),
        (made_on(MACHINE.model_copy(update={"cpu": "another"})), "other hardware: a processor.* against another"),
        (made_on(MACHINE.model_copy(update={"gpus": ("H100", "H100")})), "2 x H100"),
        (made_on(threads=1), "threads 2 against 1"),
        (made_on(jobs=2), "states measured at a time 1 against 2"),
        (made_on(device="cuda"), "on device cpu against cuda"),
        (made_on(workload={**WORKLOAD, "context": 64}), "other work was timed"),
    ],
)
def test_other_costs_cannot_and_the_reason_says_why(other: Record, why: str) -> None:
    assert re.search(why, incomparable(made_on(), other) or "comparable")
    assert Conditions.of(other).key != Conditions.of(made_on()).key


def test_of_equal_gpus_it_does_not_matter_which_one_was_used() -> None:
    first, second, other = (made_on(device=f"cuda:{index}", gpu=name) for index, name in enumerate(("A", "A", "B")))
    assert incomparable(first, second) is None
    assert incomparable(first, other) == "the same hardware used otherwise: on GPU A against B"


def test_repeats_are_those_of_the_metric_or_none() -> None:
    assert repeats(made_on(), "cost.x") == (1.0, 2.0)
    assert repeats(made_on(), "cost.y") == repeats(record(), "cost.x") == ()
