"""``recoder demo``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from recoder.cli.groups import NEGATIVE
from recoder.cli.output import console

__all__ = ["EXAMPLE", "demo"]

EXAMPLE = "recoder demo --out demo-output"


def demo(
    out: Annotated[Path, typer.Option(help="Folder for the model file and the picture.")] = Path("demo-output"),
    seed: Annotated[int, typer.Option(min=0, help="Seed of the split and of the training.")] = 7,
) -> None:
    """Train on real film ratings, evaluate beside most-popular, and recommend films.

    Exit code 1 if the model is not clearly better than recommending the most popular films.
    """
    from recoder.cli.demo import run_demo

    if not run_demo(console(), out=out, seed=seed):
        raise typer.Exit(NEGATIVE)
