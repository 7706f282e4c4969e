"""A section of a page is replaced; nothing else of the page is touched."""

from __future__ import annotations

import pytest

from saetransfer.leaderboard.boards.place import begin, end, framed, replaced
from saetransfer.leaderboard.errors import PageError

BEGIN, END = begin("cells"), end("cells")


def test_only_what_stands_between_the_comments_is_replaced() -> None:
    page = f"# Title\n\n{BEGIN}\nold\n{END}\n\n{framed('saes', 'other')}\nrest\n"
    once = replaced(page, "cells", "new\n")
    assert once == f"# Title\n\n{BEGIN}\n\nnew\n\n{END}\n\n{framed('saes', 'other')}\nrest\n"
    assert replaced(once, "cells", "new\n") == once


@pytest.mark.parametrize("page", ["", BEGIN, f"{END}{BEGIN}", f"{BEGIN}{END}{END}", f"{BEGIN}{BEGIN}{END}"])
def test_a_page_without_a_place_for_it_is_refused(page: str) -> None:
    with pytest.raises(PageError, match="once and in this order"):
        replaced(page, "cells", "new")
