"""Models that were compressed elsewhere, as states of their dense model.

Read are plain weights (pruned or rounded by another tool), compressed-tensors (llm-compressor's format; unpacked, and
activations rounded where it says so), bitsandbytes, GPTQ and AWQ (both through gptqmodel), and GGUF (unpacked).
Embeddings and norms are the checkpoint's own: nothing is promised but that something changes.
"""

from __future__ import annotations

from pathlib import Path

from transformers import PreTrainedModel

from ...calibration import Calibration
from ...errors import RegistryError
from ..method import Method, Outside, Params
from . import source as sources
from .loading import Dense, load


def checkpoint(
    model: PreTrainedModel,
    calibration: Calibration | None,  # noqa: ARG001  (part of every compressor's signature)
    *,
    path: str | None = None,
    hub: str | None = None,
    revision: str | None = None,
    gguf: str | None = None,
) -> PreTrainedModel:
    """The checkpoint, loaded; the dense model only says what it has to fit.

    Args:
        path: a folder in the Hugging Face layout or a `.gguf` file, relative to the suite's folder.
        hub: id on the hub, in the place of `path`.
        revision: branch, tag or commit on the hub; `main` where not given.
        gguf: name of a GGUF file in that repository.
    """
    source = sources.Source(str(hub), revision, gguf) if path is None else sources.on_disk(Path(path))
    return load(source, Dense.take(model))


def _outside(params: Params, folder: Path) -> Outside:
    path, hub = params["path"], params["hub"]
    if (path is None) == (hub is None):
        raise RegistryError(
            "Method 'checkpoint' takes exactly one of `path` (a folder or a .gguf file) and `hub` (an id), got "
            + ("neither." if path is None else f"path {path!r} and hub {hub!r}.")
        )
    if path is None:
        found = sources.on_hub(hub, params["revision"], params["gguf"])
        return Outside({**params, "revision": found.revision}, sources.identity(found))
    given = [key for key in ("revision", "gguf") if params[key] is not None]
    if given:
        raise RegistryError(
            f"`{given[0]}` belongs to `hub`. A GGUF file on disk is given as `path: FOLDER/FILE.gguf`, and what a "
            "folder holds has no revision."
        )
    place = (folder / path).resolve()
    return Outside({**params, "path": str(place)}, sources.identity(sources.on_disk(place)))


CHECKPOINT = Method(
    name="checkpoint",
    function=checkpoint,
    tier="external",
    needs_calibration=False,
    summary="a ready-made compressed checkpoint: pruned, compressed-tensors, bitsandbytes, GPTQ, AWQ or GGUF",
    source="the checkpoint's own",
    outside=_outside,
)
