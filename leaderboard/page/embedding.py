"""Data and libraries inside the tags of an HTML file, so that no text ends its tag or becomes markup."""

from __future__ import annotations

import json
import re
from typing import Any

from markupsafe import Markup

_IN_STRINGS = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}
_DANGEROUS = re.compile("[<>&\u2028\u2029]")
_TAGS_IN_CODE = re.compile(r"<(?=!--|/?script)", re.IGNORECASE)


def json_in_script(value: Any) -> Markup:
    """A JSON value for the inside of a `<script>` tag, whatever strings it holds; the same value gives the same text.

    Outside of strings JSON has none of the characters that are escaped here.
    """
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return Markup(_DANGEROUS.sub(lambda match: _IN_STRINGS[match.group()], text))


def code_in_script(code: str) -> Markup:
    """JavaScript for the inside of a `<script>` tag.

    What would begin or end a tag or a comment of HTML occurs only in strings and regular expressions of well-formed
    code (as operators JavaScript reads `<!--` as a comment), where the escape means the same.
    """
    return Markup(_TAGS_IN_CODE.sub(r"\\x3c", code))
