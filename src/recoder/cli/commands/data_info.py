"""``recoder data info``."""

from __future__ import annotations

from recoder.cli import options
from recoder.cli.options import data_changes, settings
from recoder.cli.output import console, print_json

__all__ = ["EXAMPLE", "info"]

EXAMPLE = "recoder data info ratings.parquet"


def info(
    file: options.File = None,
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
    """Show how many users, items and interactions there are, how active and popular they are, and what is missing."""
    from recoder.cli.data_info import print_summary, summary_of
    from recoder.cli.reading import resolved

    data = data_changes(
        path=file, user=user, item=item, weight=weight, time=time, title=title,
        text_ids=text_ids, separator=separator, names=names, encoding=encoding, quote=quote,
    )  # fmt: skip
    summary = summary_of(resolved(settings(config, data=data).data))
    if json:
        print_json(summary.to_json())
    else:
        print_summary(console(), summary)
