"""``recoder index``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from recoder.cli import options
from recoder.cli.output import console, print_json, say

__all__ = ["EXAMPLE", "index"]

EXAMPLE = "recoder index movies.model --kind voyager --out movies.index"


def index(
    model: options.Model,
    out: Annotated[Path, typer.Option("--out", help="The index file to write.")],
    kind: Annotated[
        Literal["exact", "voyager", "annoy"], typer.Option("--kind", help="Exact, or approximate by that package.")
    ] = "exact",
    json: options.Json = False,
) -> None:
    """Write the items of a model to a file for nearest-neighbour search, for recoder.embedding to load."""
    from recoder.cli.indexing import build_index

    built = build_index(model, out, kind)
    if json:
        print_json(built)
    else:
        say(console(), f"{built['items']:,} items of {built['factors']} factors in {built['file']} ({built['kind']})")
