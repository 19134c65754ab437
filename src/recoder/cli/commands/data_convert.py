"""``recoder data convert``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from recoder.cli import options
from recoder.cli.options import data_changes, settings
from recoder.cli.output import console, print_json, say

__all__ = ["EXAMPLE", "convert"]

EXAMPLE = "recoder data convert ratings.dat ratings.parquet --names user,item,rating,time"


def convert(
    file: Annotated[str, typer.Argument(metavar="IN", help="Parquet or text; or a public data set's name.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="What to write: .parquet, .csv or .tsv.")],
    folder: Annotated[
        Path | None,
        typer.Option(help="Where a public data set's files are, or their archive; else they are downloaded."),
    ] = None,
    user: options.User = None,
    item: options.Item = None,
    weight: options.Weight = None,
    time: options.Time = None,
    title: options.Title = None,
    text_ids: options.TextIds = None,
    separator: options.Separator = None,
    names: options.Names = None,
    encoding: options.Encoding = None,
    quote: options.Quote = None,
    config: options.ConfigFile = None,
    json: options.Json = False,
) -> None:
    """Convert interactions to Parquet or text; only the columns that are named are kept."""
    from recoder.cli.data_convert import convert_file

    data = data_changes(
        path=file, user=user, item=item, weight=weight, time=time, title=title,
        text_ids=text_ids, separator=separator, names=names, encoding=encoding, quote=quote,
    )  # fmt: skip
    written = convert_file(settings(config, data=data).data, out, folder=folder)
    if json:
        print_json(written)
    else:
        say(console(), f"{written['rows']:,} rows of {', '.join(written['columns'])} in {written['file']}")
