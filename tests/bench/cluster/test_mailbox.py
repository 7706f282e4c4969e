"""Letters to jobs that wait: each is taken once, by whoever asks at its address, before or after it came."""

from __future__ import annotations

import asyncio

import pytest

pytest.importorskip("ray", reason="Ray is not installed: pip install 'saetransfer[ray]'")

from saetransfer.bench.running.cluster.mailbox import Letter, Mailbox
from saetransfer.bench.running.job import DenseResults

EARLY, LATE = Letter(None, ()), Letter(DenseResults({"sae": {"n": [1.0]}}), ())


def test_a_letter_waits_for_its_reader_and_a_reader_for_the_letter() -> None:
    async def exchange() -> list[Letter]:
        box = Mailbox()
        await box.put("a", EARLY)
        first = await box.take("a")
        waiting = asyncio.ensure_future(box.take("a"))
        await asyncio.sleep(0)
        assert not waiting.done()
        await box.put("a", LATE)
        return [first, await waiting]

    assert asyncio.run(exchange()) == [EARLY, LATE]


def test_what_is_left_of_an_earlier_start_takes_nobody_elses_letter() -> None:
    async def exchange() -> Letter:
        box = Mailbox()
        gone = asyncio.ensure_future(box.take("a, start 1"))
        await asyncio.sleep(0)
        await box.put("a, start 2", LATE)
        found = await box.take("a, start 2")
        assert not gone.done()
        gone.cancel()
        return found

    assert asyncio.run(exchange()) == LATE
