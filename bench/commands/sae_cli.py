"""The commands below `saetransfer sae`, as their help shows them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

sae_app = typer.Typer(help="Make one SAE, outside a suite: train it, finetune or prune another.", no_args_is_help=True)

_Model = Annotated[
    str, typer.Argument(help="A model's card (see `list models`), a folder, or an id on the hub.", show_default=False)
]
_Out = Annotated[Path, typer.Option(help="Folder for the SAE, in SAELens' format.", show_default=False)]
_Base = Annotated[
    str,
    typer.Option(
        help="The SAE to start from: a card (see `list saes`), a folder, or a suite's keys: '{release: ..., id: ...}'.",
        show_default=False,
    ),
]
_Compressor = Annotated[
    str | None, typer.Option(help="Compress the model first: a card (see `list compressors`) or FILE.py:FUNCTION.")
]
_Text = Annotated[
    str | None,
    typer.Option(help="A text's card or file; a part of it is read. [default: microworld, for that model]"),
]
_Context = Annotated[
    int | None,
    typer.Option(help="Positions of a window at most, BOS included. [default: 128, or what the model takes]"),
]
_Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="Any other key of the SAE in a suite, e.g. tokens=50_000; or data.KEY=VALUE."
    ),
]
_Device = Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1, ... [default: cuda where there is one]")]
_Force = Annotated[bool, typer.Option("--force", help="Overwrite an SAE that lies in --out.")]


@sae_app.command()
def train(  # noqa: PLR0913 - each argument is an option of the command
    model: _Model,
    out: _Out,
    like: Annotated[
        str | None,
        typer.Option(help="An SAE whose site, architecture, width and sparsity it takes: as --base of `finetune`."),
    ] = None,
    site: Annotated[str | None, typer.Option(help="Where it reads, e.g. blocks.2.hook_resid_post.")] = None,
    architecture: Annotated[
        str | None, typer.Option(help="standard, gated, topk, batchtopk, jumprelu or matryoshka.")
    ] = None,
    d_sae: Annotated[str | None, typer.Option(help="Number of latents.")] = None,
    compressor: _Compressor = None,
    text: _Text = None,
    context: _Context = None,
    overrides: _Overrides = None,
    device: _Device = None,
    force: _Force = False,
) -> None:
    """Train an SAE on a model's activations."""
    from . import sae_command

    keys = {"site": site, "architecture": architecture, "d_sae": d_sae}
    given = tuple(overrides or ())
    wanted = sae_command.Wanted("trained", like, keys, given, sae_command.Read(model, compressor, text, context))
    raise typer.Exit(sae_command.run(wanted, out, device, force))


@sae_app.command()
def finetune(  # noqa: PLR0913 - each argument is an option of the command
    model: _Model,
    base: _Base,
    out: _Out,
    compressor: _Compressor = None,
    text: _Text = None,
    context: _Context = None,
    overrides: _Overrides = None,
    device: _Device = None,
    force: _Force = False,
) -> None:
    """Train an SAE on for a moment, on a model's activations."""
    from . import sae_command

    given = tuple(overrides or ())
    wanted = sae_command.Wanted("finetuned", base, {}, given, sae_command.Read(model, compressor, text, context))
    raise typer.Exit(sae_command.run(wanted, out, device, force))


@sae_app.command()
def prune(  # noqa: PLR0913 - each argument is an option of the command
    model: _Model,
    base: _Base,
    out: _Out,
    method: Annotated[
        str, typer.Option(help="wanda, magnitude, contribution, frequency, silent or int8.", show_default=False)
    ],
    sparsity: Annotated[
        str | None, typer.Option(help="Share of the weights, or of the latents, that goes; or best.")
    ] = None,
    compressor: _Compressor = None,
    text: _Text = None,
    context: _Context = None,
    overrides: _Overrides = None,
    device: _Device = None,
    force: _Force = False,
) -> None:
    """Prune an SAE, without training."""
    from . import sae_command

    keys, given = {"method": method, "sparsity": sparsity}, tuple(overrides or ())
    wanted = sae_command.Wanted("pruned", base, keys, given, sae_command.Read(model, compressor, text, context))
    raise typer.Exit(sae_command.run(wanted, out, device, force))
