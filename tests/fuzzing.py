"""Files that somebody has damaged or made up: mutations of good ones, as hypothesis strategies."""

from __future__ import annotations

import copy
import json
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from saetransfer.bench.errors import UsageError
from saetransfer.leaderboard.errors import RecordError
from saetransfer.registry.errors import Impossible, RegistryError

USERS_MISTAKE = (UsageError, RegistryError, RecordError, Impossible)
"""What a bad file may be answered with; anything else would be a traceback."""

_HANG_SECONDS = 60

NASTY = (
    "",
    "\x00",
    "../../etc/passwd",
    "/",
    ".",
    "~",
    "-",
    "a" * 5000,
    "=cmd|' /C calc'!A0",
    "<script>alert(1)</script>",
    "|pipe|",
    "{x.__class__}",
    "%s%n",
    "\u202eexe.txt",
    "\ud83d\ude00",
    "1e999",
    "nan",
    "!!python/object/apply:os.system [id]",
    "blocks.99999999999999999999.hook_resid_post",
    "transformer.h.0.__class__",
)

junk: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.integers(-2, 8)
    | st.floats()
    | st.sampled_from(NASTY)
    | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)


def many(usual: int, slow: int) -> pytest.MarkDecorator:
    """How many cases a test tries, as its argument `n`: a few by default, many where the slow tests run."""
    return pytest.mark.parametrize("n", [usual, pytest.param(slow, marks=pytest.mark.slow)])


def try_cases(n: int, strategy: st.SearchStrategy[Any], check: Callable[[Any], object]) -> None:
    """Try a check on so many cases of a strategy, the same ones each time."""

    @settings(
        max_examples=n,
        deadline=None,
        database=None,
        derandomize=True,
        print_blob=False,
        suppress_health_check=[*HealthCheck],  # pyright: ignore[reportArgumentType]
    )
    @given(strategy)
    def case(drawn: Any) -> None:
        check(drawn)

    case()


def _places(tree: Any, here: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield here
    children = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, child in children:
        yield from _places(child, (*here, key))


def _nested(depth: int) -> Any:
    found: Any = 0
    for _ in range(depth):
        found = [found]
    return found


@st.composite
def trees(draw: st.DrawFn, good: Any) -> Any:
    """JSON-like content with one to three places replaced, taken out, doubled or added to."""
    tree = copy.deepcopy(good)
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.sampled_from(list(_places(tree))))
        if not place:
            if draw(st.integers(0, 9)) == 0:
                return draw(junk)
            continue
        parent = tree
        for key in place[:-1]:
            parent = parent[key]
        change = draw(st.sampled_from(("replace", "replace", "delete", "add", "nest", "swap")))
        value = draw(junk) if change != "nest" else _nested(draw(st.sampled_from((3, 60, 300))))
        if change in ("replace", "nest"):
            parent[place[-1]] = value
        elif change == "delete":
            del parent[place[-1]]
        elif isinstance(parent, list):
            parent.append(copy.deepcopy(parent[place[-1]]) if change == "swap" else value)
        else:
            parent[draw(st.text(max_size=8)) if change == "add" else str(place[-1]).upper()] = value
    return tree


@st.composite
def damaged(draw: st.DrawFn, good: bytes) -> bytes:
    """A file's bytes cut short, with some overwritten, doubled or taken out, or something else altogether."""
    content = bytearray(good)
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, max(0, len(content) - 1)))
        length = draw(st.integers(1, 40))
        change = draw(st.sampled_from(("cut", "overwrite", "insert", "delete", "double", "other")))
        if change == "cut":
            del content[start:]
        elif change == "overwrite":
            content[start : start + length] = draw(st.binary(min_size=1, max_size=40))
        elif change == "insert":
            content[start:start] = draw(
                st.binary(min_size=1, max_size=12) | st.sampled_from((b"\xff\xfe", b"\x00", b"{", b"*a ", b"&a "))
            )
        elif change == "delete":
            del content[start : start + length]
        elif change == "double":
            content[start:start] = content[start : start + length]
        elif draw(st.integers(0, 5)) == 0:
            content[:] = draw(st.binary(max_size=200))
    return bytes(content)


def as_json(tree: Any) -> bytes:
    """JSON as a careless program writes it: NaN and half surrogates included."""
    return json.dumps(tree, default=str).encode("utf-8", "surrogatepass")


def answered(call: Callable[[], object]) -> str | None:
    """What a bad file is answered with, or None where it was no bad one after all; anything else raises.

    Raises:
        TimeoutError: it hangs.
    """
    with _alarm():
        try:
            call()
        except USERS_MISTAKE as error:
            assert str(error).strip(), "a mistake needs words"
            return str(error)
    return None


@contextmanager
def _alarm() -> Iterator[None]:
    def ring(number: int, frame: object) -> None:
        raise TimeoutError(f"no answer within {_HANG_SECONDS} s")

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(_HANG_SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
