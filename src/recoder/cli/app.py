"""The commands and their options; what they do stands in modules of their own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from recoder import __version__
from recoder.errors import RecoderError

__all__ = ["app"]

app = typer.Typer(
    name="recoder",
    help="Train, evaluate and use recommendation models.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"recoder {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Train, evaluate and use recommendation models."""


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder for the model file and the picture.")] = Path("demo-output"),
    seed: Annotated[int, typer.Option(min=0, help="Seed of the split and of the training.")] = 7,
) -> None:
    """Train on real film ratings, evaluate beside most-popular, and recommend films.

    Exit code 1 if the model is not clearly better than recommending the most popular films.

    Example: recoder demo --out demo-output
    """
    from recoder.cli.demo import run_demo

    console = Console(highlight=False)
    try:
        is_better = run_demo(console, out=out, seed=seed)
    except RecoderError as error:
        Console(stderr=True, highlight=False).print(f"recoder: {error}", markup=False)
        raise typer.Exit(2) from None
    if not is_better:
        raise typer.Exit(1)
