"""What a reader of figures should know: where an SAE is read otherwise than it was trained."""

from __future__ import annotations

from .entry import SaeEntry


def notes(entry: SaeEntry, context: int, prepend_bos: bool) -> list[str]:
    """One sentence each; none where windows are like the texts that the SAE was trained on.

    Args:
        context: positions of a window at most.
        prepend_bos: whether windows begin with BOS.
    """
    found: list[str] = []
    if entry.context_size is not None and entry.context_size != context:
        longer = context > entry.context_size
        what = "positions beyond those are new to it" if longer else "its later positions are not measured"
        found.append(f"trained on contexts of {entry.context_size} tokens, read on windows of up to {context}: {what}")
    if entry.prepend_bos != prepend_bos:
        trained, read = ("with" if there else "without" for there in (entry.prepend_bos, prepend_bos))
        found.append(f"trained {trained} BOS, read {read} BOS")
    return found
