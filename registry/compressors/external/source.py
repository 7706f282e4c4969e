"""Where a ready-made checkpoint lies: a folder, a GGUF file, or a repository of the hub; what identifies it.

Only safetensors and GGUF are read. Pickled weights run code when they are read, and an adapter is no whole model: both
are refused here, before anything is loaded.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import AutoConfig, PretrainedConfig

from ...errors import RegistryError
from ...files import content_hash, fingerprint
from ...foreign import first_line, json_object, read_by_library
from ...models import check_weights, config_hash

WHOSE = "Checkpoint"
_MAGIC = b"GGUF"
_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt")
"""What transformers and gguf raise of files that are not what they expect."""


@dataclass(frozen=True)
class Source:
    """A checkpoint that has been found."""

    location: str
    """Folder or hub id, as transformers takes it."""
    revision: str | None = None
    """Commit on the hub; None for a folder."""
    gguf: str | None = None
    """Name of the GGUF file within that place; None for safetensors."""

    @property
    def shown(self) -> str:
        """For messages."""
        return self.location if self.gguf is None else f"{self.location}/{self.gguf}"

    @property
    def arguments(self) -> dict[str, Any]:
        """What every `from_pretrained` gets."""
        named = {} if self.gguf is None else {"gguf_file": self.gguf}
        return {"revision": self.revision, "trust_remote_code": False, **named}

    def config(self) -> PretrainedConfig:
        """What the checkpoint says of itself.

        Raises:
            RegistryError: nothing that transformers understands.
        """
        with read_by_library(f"{WHOSE} {self.shown}: no configuration"):
            config = AutoConfig.from_pretrained(self.location, **self.arguments)
        weights = getattr(config, "transformers_weights", None)
        if weights is not None and ".safetensors" not in str(weights):
            raise RegistryError(f"{WHOSE} {self.shown}: its config.json names weights in '{weights}'. {_ONLY}")
        return config


_ONLY = "Only safetensors and GGUF are read; convert with model.save_pretrained(FOLDER)."


def on_disk(path: Path) -> Source:
    """The checkpoint in a folder, or in a GGUF file.

    Raises:
        RegistryError: nothing there, no weights that are read here, or files that are not whole.
    """
    if path.is_file() and path.suffix == ".gguf":
        return _gguf(path)
    if not path.is_dir():
        hint = " (that is a file: give the folder it lies in, or a .gguf file)" if path.is_file() else ""
        raise RegistryError(f"{WHOSE}: there is no folder {path}{hint}.")
    if not (path / "config.json").is_file():
        return _gguf(_only_gguf(path))
    if (path / "adapter_config.json").is_file():
        raise RegistryError(
            f"{WHOSE}: {path} holds an adapter (adapter_config.json), no whole model. Merge it into its model first, "
            "with merge_and_unload() of peft."
        )
    weights = sorted(path.glob("*.safetensors"))
    if not weights:
        pickles = sorted(file.name for pattern in _PICKLES for file in path.glob(pattern))
        found = f", only {', '.join(pickles[:3])}: reading a pickle runs code" if pickles else ""
        raise RegistryError(f"{WHOSE}: {path} holds no *.safetensors{found}. {_ONLY}")
    check_weights(WHOSE, path, weights)
    _check_json(path / "config.json")
    return Source(str(path))


def on_hub(hub: str, revision: str | None, gguf: str | None) -> Source:
    """The checkpoint of that id, with its revision pinned to a commit.

    Raises:
        RegistryError: no such repository, revision or configuration, or the hub cannot be reached.
    """
    asked = Source(hub, revision or "main", gguf)
    if gguf is None:
        return Source(hub, getattr(asked.config(), "_commit_hash", None) or asked.revision)
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, OfflineModeIsEnabled

    try:
        found = HfApi().model_info(hub, revision=asked.revision)
    except (HfHubHTTPError, HFValidationError, OfflineModeIsEnabled, OSError) as error:
        raise RegistryError(f"{WHOSE} {asked.shown}: not found on the hub: {first_line(error)}") from error
    names = sorted(file.rfilename for file in found.siblings or ())
    if gguf not in names:
        held = ", ".join(name for name in names if name.endswith(".gguf")) or "none"
        raise RegistryError(f"{WHOSE} {hub} holds no file '{gguf}'. Its GGUF files: {held}.")
    return Source(hub, found.sha, gguf)


def identity(source: Source) -> dict[str, str | None]:
    """What enters the cell id: contents, or a commit of the hub; nothing of where a folder lies."""
    if source.revision is not None:
        return {"hub": source.location, "revision": source.revision, "gguf": source.gguf}
    folder = Path(source.location)
    if source.gguf is not None:
        return {"gguf": content_hash(folder / source.gguf)}
    return {
        "weights": fingerprint(sorted(folder.glob("*.safetensors"))),
        "config": config_hash(folder / "config.json"),
    }


def _gguf(file: Path) -> Source:
    with file.open("rb") as opened:
        if opened.read(len(_MAGIC)) != _MAGIC:
            raise RegistryError(f"{WHOSE}: {file} is no GGUF file: it does not begin with {_MAGIC.decode()}.")
    return Source(str(file.parent), gguf=file.name)


def _only_gguf(folder: Path) -> Path:
    files = sorted(folder.glob("*.gguf"))
    if not files:
        raise RegistryError(f"{WHOSE}: {folder} holds no config.json and no .gguf file; it is no checkpoint.")
    if len(files) > 1:
        names = ", ".join(file.name for file in files)
        raise RegistryError(f"{WHOSE}: {folder} holds several GGUF files ({names}). Give the path of one.")
    return files[0]


def _check_json(file: Path) -> None:
    if "model_type" not in json_object(file, WHOSE):
        raise RegistryError(f"{WHOSE}: {file} names no `model_type`; it is no configuration of a model.")
