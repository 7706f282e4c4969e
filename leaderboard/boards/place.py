"""A section of a page that is made anew, between two comments; the rest of the page stays as it is."""

from __future__ import annotations

from ..errors import PageError


def begin(name: str) -> str:
    """The comment before the section of that name."""
    return f"<!-- saetransfer:{name}:begin -->"


def end(name: str) -> str:
    """The comment behind it."""
    return f"<!-- saetransfer:{name}:end -->"


def framed(name: str, text: str) -> str:
    """A section with its two comments."""
    return f"{begin(name)}\n\n{text.strip()}\n\n{end(name)}"


def placed(page: str, name: str, text: str) -> str:
    """A page of that section alone where there is none yet; otherwise the page with the section in its place.

    Raises:
        PageError: there is a page, and it has no place for the section.
    """
    return replaced(page, name, text) if page.strip() else framed(name, text) + "\n"


def replaced(page: str, name: str, text: str) -> str:
    """The page with a text in the place of what stood between the two comments of that name.

    Raises:
        PageError: the page does not hold each of them once, in order.
    """
    before, first, rest = page.partition(begin(name))
    _, last, after = rest.partition(end(name))
    if not first or not last or begin(name) in rest or end(name) in after:
        raise PageError(
            f"The page must hold, once and in this order, {begin(name)} and {end(name)}; put them where the section "
            "belongs."
        )
    return f"{before}{framed(name, text)}{after}"
