"""``recoder data split``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

import typer

from recoder.cli import options
from recoder.cli.config import SplitConfig
from recoder.cli.options import data_changes, settings
from recoder.cli.output import console, print_json
from recoder.errors import ConfigError

__all__ = ["EXAMPLE", "split"]

EXAMPLE = "recoder data split ratings.parquet --kind strong --out parts"

_STRONG = "--kind strong"
_DEFAULT = SplitConfig()


def split(
    file: options.File = None,
    out: Annotated[Path, typer.Option("--out", help="Folder for the parts.")] = Path("split"),
    kind: Annotated[
        Literal["strong", "random", "last", "time"] | None,
        typer.Option(
            "--kind",
            help="strong: whole users are held out; random: a random part of each user's interactions; last: the "
            "latest of each user; time: what happened from one moment on.",
        ),
    ] = None,
    seed: Annotated[
        int | None, typer.Option("--seed", min=0, show_default=str(_DEFAULT.seed), help="Of strong and random.")
    ] = None,
    valid: Annotated[
        float | None,
        typer.Option(
            "--valid",
            show_default=str(_DEFAULT.valid),
            help="Users who validate: a share, or a number.",
            rich_help_panel=_STRONG,
        ),
    ] = None,
    test: Annotated[
        float | None,
        typer.Option(
            "--test",
            show_default=str(_DEFAULT.test),
            help="Users who test: a share, or a number.",
            rich_help_panel=_STRONG,
        ),
    ] = None,
    fold_in: Annotated[
        float | None,
        typer.Option(
            "--fold-in",
            show_default=str(_DEFAULT.fold_in),
            help="Share of their interactions that is known; the rest is to be found.",
            rich_help_panel=_STRONG,
        ),
    ] = None,
    min_interactions: Annotated[
        int | None,
        typer.Option(
            "--min-interactions",
            min=2,
            show_default=str(_DEFAULT.min_interactions),
            help="Hold out only users with as many.",
            rich_help_panel=_STRONG,
        ),
    ] = None,
    fraction: Annotated[
        float | None,
        typer.Option(
            "--fraction",
            show_default=str(_DEFAULT.fraction),
            help="Share of the interactions to be found.",
            rich_help_panel="--kind random, time",
        ),
    ] = None,
    last: Annotated[
        int | None,
        typer.Option(
            "--last",
            min=1,
            show_default=str(_DEFAULT.last),
            help="How many of each user's latest are to be found.",
            rich_help_panel="--kind last",
        ),
    ] = None,
    moment: Annotated[
        str | None,
        typer.Option(
            "--moment",
            metavar="DATE",
            help="From when on interactions are to be found (UTC), instead of a share: 2024-05-31 or "
            "2024-05-31T18:30:00.",
            rich_help_panel="--kind time",
        ),
    ] = None,
    min_weight: options.MinWeight = None,
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
    """Split interactions into a part to train on and parts to judge by, each a Parquet file in your own ids."""
    from recoder.cli.data_split import print_parts, write_split
    from recoder.cli.splitting import check_options

    data = data_changes(
        path=file, user=user, item=item, weight=weight, time=time, title=title, min_weight=min_weight,
        text_ids=text_ids, separator=separator, names=names, encoding=encoding, quote=quote,
    )  # fmt: skip
    given = {
        "seed": seed, "valid": valid, "test": test, "fold_in": fold_in, "min_interactions": min_interactions,
        "fraction": fraction, "last": last, "moment": moment,
    }  # fmt: skip
    if fraction is not None and moment is not None:
        raise ConfigError("--fraction and --moment both say where to split; give one of them")
    effective = settings(config, data=data, split={"kind": kind, **given})
    check_options(effective.split.kind, given)
    if fraction is not None:  # rather than the moment of a file
        effective = replace(effective, split=replace(effective.split, moment=None))
    written = write_split(effective, out)
    if json:
        print_json(written)
    else:
        print_parts(console(), written)
