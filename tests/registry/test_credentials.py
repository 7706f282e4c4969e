"""No credential is written down."""

from __future__ import annotations

import pytest

from saetransfer.registry import credentials


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("https://me:pass@host/x", "https://***@host/x"),
        ("https://ghp@host/x?a=b@c", "https://***@host/x?a=b@c"),
        ("https://host/a@b", "https://host/a@b"),
        ("key hf_" + "a" * 34, "key ***"),
        ("github_pat_" + "A1" * 15 + " and more", "*** and more"),
        ("hf_hub_download of hf_model", "hf_hub_download of hf_model"),
        ("blocks.1.hook_resid_post", "blocks.1.hook_resid_post"),
    ],
)
def test_addresses_and_well_known_tokens(text: str, left: str) -> None:
    assert credentials.scrub(text) == left
    assert credentials.are_in(text) == (text != left)


def test_values_of_the_environment_longest_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_API_KEY", "hunter2hunter2")
    monkeypatch.setenv("LONGER_TOKEN", "hunter2hunter2-and-more")
    monkeypatch.setenv("SHORT_TOKEN", "dense")
    assert credentials.scrub("a hunter2hunter2-and-more b hunter2hunter2 dense") == "a *** b *** dense"
