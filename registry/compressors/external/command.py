"""Any tool in any environment: the model goes to a folder, a command line runs, its output folder becomes the state.

Tools for compression pin versions of torch and transformers that exclude each other and this package's. So the tool
runs as another process, in whatever environment its program belongs to: it reads a model in the Hugging Face layout and
writes one. README.md in this folder holds recipes.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field
from pydantic_core import PydanticCustomError
from transformers import PreTrainedModel

from ... import credentials
from ...calibration import Calibration
from ...errors import RegistryError
from ...files import content_hash
from ...structure import kept_features
from ..linear import linear_layers
from ..method import Method, Outside, Params
from ..outcome import NotCompressed
from .loading import Dense, load
from .process import CommandFailed, run
from .source import on_disk

_NEEDED = ("model", "out")
_KNOWN = ("model", "calibration", "out")
_PLACEHOLDER = re.compile(r"\{([A-Za-z_]\w*)\}")


def _listed(value: Any) -> Any:
    if isinstance(value, str):
        raise PydanticCustomError(
            "one_text",
            "it must be a list of program and arguments, as in [python, shrink.py, '{{model}}', '{{out}}']; no shell "
            "takes it apart, so that a space or a quote in a path can neither break nor do anything",
        )
    return value


def command(
    model: PreTrainedModel,
    calibration: Calibration,
    *,
    command: Annotated[list[str], BeforeValidator(_listed)],
    timeout_seconds: Annotated[float, Field(gt=0)] = 3600.0,
    folder: str = ".",
) -> PreTrainedModel:
    """What the command makes of the model.

    Args:
        command: program and arguments. In any of them, `{model}` stands for the folder of the dense model with its
            tokenizer, `{calibration}` for a file of JSON lines `{"text": ..., "input_ids": [...]}`, and `{out}` for an
            empty folder, which the command fills.
        timeout_seconds: after which the command is ended.
        folder: what it runs in, relative to the suite's folder.

    Raises:
        CommandFailed: it does not run, fails, takes too long, or leaves nothing that loads.
        RegistryError: an earlier step of a chain left something that a checkpoint cannot hold.
    """
    _refuse_unsaveable(model)
    with tempfile.TemporaryDirectory(prefix="saetransfer-command-") as name:
        places = {"model": f"{name}/model", "calibration": f"{name}/calibration.jsonl", "out": f"{name}/out"}
        out = Path(places["out"])
        out.mkdir()
        model.save_pretrained(places["model"])
        if calibration.tokenizer is not None:
            calibration.tokenizer.save_pretrained(places["model"])
        _write(calibration, Path(places["calibration"]))
        dense = Dense.take(model)  # before the tool starts: it needs the memory
        said = run([_filled(argument, places) for argument in command], Path(folder), timeout_seconds)
        if not any(out.iterdir()):
            raise CommandFailed(f"'{command[0]}' ended well, but left {{out}} empty. {said}")
        try:
            return load(on_disk(out), dense)
        except (RegistryError, NotCompressed) as error:
            what = str(error).replace(places["out"], "{out}")
            raise CommandFailed(f"'{command[0]}' ended well, but what it left cannot be used. {what} {said}") from error


def _refuse_unsaveable(model: PreTrainedModel) -> None:
    for layer in linear_layers(model):
        kept = kept_features(model, layer.name)
        what = None
        if layer.storage not in ("linear", "conv1d"):
            what = f"the storage of a library ({type(layer.module).__name__})"
        elif kept.outputs is not None or kept.inputs is not None:
            what = "a matrix that became smaller"
        elif layer.module._forward_pre_hooks or layer.module._forward_hooks:
            what = "rounding of activations"
        if what is not None:
            raise RegistryError(
                f"An earlier step of the chain left {what} in {layer.name}, which no folder that `command` hands over "
                "can hold. Put `command` first."
            )


def _write(calibration: Calibration, file: Path) -> None:
    """One line a sequence; special tokens are left out of the text, since tokenizers add them again."""
    tokenizer = calibration.tokenizer
    with file.open("w", encoding="utf-8") as opened:
        for window in calibration.windows:
            ids = window.tolist()
            text = None if tokenizer is None else tokenizer.decode(ids, skip_special_tokens=True)
            opened.write(json.dumps({"text": text, "input_ids": ids}, ensure_ascii=False) + "\n")


def _filled(argument: str, places: Mapping[str, str]) -> str:
    return _PLACEHOLDER.sub(lambda found: places[found[1]], argument)


def _outside(params: Params, folder: Path) -> Outside:
    arguments: list[str] = params["command"]
    _check(arguments)
    working = (folder / params["folder"]).resolve()
    if not working.is_dir():
        raise RegistryError(f"Method 'command': there is no folder {working} to run in.")
    found = [_looked_up(argument, folder) for argument in arguments]
    called = {**params, "command": [argument for argument, _ in found], "folder": str(working)}
    return Outside(called, {"command": [identity for _, identity in found]})


def _check(arguments: list[str]) -> None:
    if not arguments or not arguments[0]:
        raise RegistryError(
            "Method 'command' needs a program: `command` is an empty list or begins with an empty text."
        )
    named = [name for argument in arguments for name in _PLACEHOLDER.findall(argument)]
    known = ", ".join(f"{{{name}}}" for name in _KNOWN)
    for name in named:
        if name not in _KNOWN:
            raise RegistryError(f"Method 'command' knows no placeholder {{{name}}}. Known: {known}.")
    for name in _NEEDED:
        if name not in named:
            raise RegistryError(
                f"Method 'command' lacks the placeholder {{{name}}}: no argument tells the program "
                + ("which model to read." if name == "model" else "where to leave the result.")
                + f" Known: {known}."
            )
    if any(credentials.are_in(argument) for argument in arguments):
        raise RegistryError(
            "An argument of method 'command' holds a token, or the value of an environment variable that is called "
            "like a credential, and arguments stand in every record. Let the program read it from the environment, "
            "which it inherits."
        )


def _looked_up(argument: str, folder: Path) -> tuple[str, Any]:
    """An argument with the path of a file made absolute, and what of it enters the cell id: the file's contents."""
    option, equals, value = argument.rpartition("=") if argument.startswith("-") else ("", "", argument)
    file = folder / value
    if not value or not file.is_file():
        return argument, argument
    # Not `resolve`: the Python of a virtual environment is a link, and finds its packages by where the link lies.
    return f"{option}{equals}{file.absolute()}", {"option": f"{option}{equals}", "file": content_hash(file)}


COMMAND = Method(
    name="command",
    function=command,
    tier="external",
    needs_calibration=True,
    summary="any program in any environment: it gets the model in a folder and leaves the compressed one in another",
    source="the program's own",
    outside=_outside,
)
