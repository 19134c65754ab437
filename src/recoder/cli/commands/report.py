"""``recoder report``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from recoder.cli import options
from recoder.cli.options import check_unused, data_changes
from recoder.cli.output import console, print_json, say
from recoder.errors import ConfigError

__all__ = ["EXAMPLE", "report"]

EXAMPLE = "recoder report movies.model --out report.html"


def report(
    model: options.Model,
    out: Annotated[Path, typer.Option("--out", help="The HTML page to write.")] = Path("report.html"),
    target: Annotated[
        str | None,
        typer.Option("--target", help="Interactions that are to be found; left out: those that training held out."),
    ] = None,
    history: Annotated[
        str | None,
        typer.Option("--history", help="What users had before; left out: users in training, as the model has them."),
    ] = None,
    bare: Annotated[bool, typer.Option("--bare", help="Judge nobody; tell of the model and its data alone.")] = False,
    users: Annotated[int, typer.Option("--users", min=1, help="To show with history and recommendations.")] = 12,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the choice of these.")] = 0,
    min_weight: options.MinWeight = None,
    user: options.User = None,
    item: options.Item = None,
    weight: options.Weight = None,
    text_ids: options.TextIds = None,
    separator: options.Separator = None,
    names: options.Names = None,
    encoding: options.Encoding = None,
    quote: options.Quote = None,
    json: options.Json = False,
) -> None:
    """Write a page about a model: its data, how well it recommends beside most-popular, and what.

    Users are shown by their ids: think of privacy before you pass the page on.
    """
    from recoder.cli.answers import load_model
    from recoder.cli.evaluating import model_and_users
    from recoder.cli.out_files import check_outs
    from recoder.cli.training import config_in
    from recoder.report import write_report

    columns = data_changes(
        user=user, item=item, weight=weight, min_weight=min_weight,
        text_ids=text_ids, separator=separator, names=names, encoding=encoding, quote=quote,
    )  # fmt: skip
    check_outs(inputs=[model, history, target], out=out)
    if bare and (history is not None or target is not None):
        raise ConfigError("--bare judges nobody; leave --history and --target out")
    if bare:
        check_unused(columns, "give --target too")
        fitted, test = load_model(model), None
    else:
        fitted, test = model_and_users(model, history=history, target=target, columns=columns)
    made_by = config_in(fitted.about.more)
    check_outs(inputs=[None if made_by is None else made_by.data.path], out=out)
    path = write_report(fitted, out, test=test, num_users=users, seed=seed)
    if json:
        print_json({"model": str(model), "report": path})
    else:
        say(console(), f"the report is in {path}")
