"""What compressing costs is measured in a process of its own; tested on a tiny shape."""

from __future__ import annotations

import sys

import pytest

from saetransfer.bench.benchmarks.compressing import CASES, Case, Cost, measured, table
from saetransfer.bench.benchmarks.page import Section, page, sections_of
from saetransfer.registry.compressors.shelf import cards

TINY = Case("sparsegpt-50", n_layers=2, d_model=64, vocabulary=96, sequences=8, context=32)


@pytest.fixture(scope="module")
def cost() -> Cost:
    return measured(TINY)


def test_size_and_time_are_those_of_the_case(cost: Cost) -> None:
    blocks = 2 * (12 * 64**2 + 13 * 64)
    embeddings = (96 + 32) * 64 + 2 * 64
    assert cost.parameters == blocks + embeddings
    assert cost.model_bytes == 4 * cost.parameters
    assert 0 < cost.seconds < 60


@pytest.mark.skipif(sys.platform != "linux", reason="the peak can only be reset on Linux")
def test_the_peak_holds_the_model(cost: Cost) -> None:
    assert cost.peak_bytes is not None
    assert cost.peak_bytes > cost.model_bytes


def test_the_table_names_cases_and_figures() -> None:
    text = table([TINY], [Cost(124_400_000, 500_000_000, 100.4, 1_000_000_000)])
    assert "| sparsegpt-50 | 2 layers, 64 wide, 124M parameters | 8 x 32 tokens | 100 s | 2.00 x the model |" in text
    assert "–" in table([TINY], [Cost(1, 4, 1.0, None)])


def test_sections_of_a_page_are_found_again() -> None:
    sections = [
        Section("first", "What it costs", "A word.\n\n| a | b |\n| - | - |", "a machine; 2 threads."),
        Section("second", "More", "Another.", "another machine."),
    ]
    text = page(sections)
    assert "`make benchmark`" in text
    assert list(sections_of(text).values()) == sections
    assert sections_of("# Benchmarks\n\nnothing\n") == {}


def test_the_first_case_is_sparsegpt_on_the_shape_of_gpt2_small() -> None:
    first = CASES[0]
    assert first.compressor in cards()
    assert (first.n_layers, first.d_model, first.vocabulary) == (12, 768, 50_257)
    assert (first.sequences, first.context) == (128, 512)
