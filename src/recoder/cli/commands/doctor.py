"""``recoder doctor``."""

from __future__ import annotations

from typing import Annotated

import typer

from recoder.cli import options
from recoder.cli.groups import NEGATIVE
from recoder.cli.options import data_changes, settings
from recoder.cli.output import console, print_json
from recoder.errors import ConfigError

__all__ = ["EXAMPLE", "doctor"]

EXAMPLE = "recoder doctor --plan ratings.parquet"


def doctor(
    plan: Annotated[
        str | None,
        typer.Option("--plan", metavar="FILE", help="Estimate what training on these interactions would take."),
    ] = None,
    model: Annotated[
        list[str] | None, typer.Option("--model", help="Recipe to plan for; again for more. [default: all]")
    ] = None,
    min_weight: options.MinWeight = None,
    user: options.User = None,
    item: options.Item = None,
    weight: options.Weight = None,
    text_ids: options.TextIds = None,
    separator: options.Separator = None,
    names: options.Names = None,
    encoding: options.Encoding = None,
    quote: options.Quote = None,
    config: options.ConfigFile = None,
    json: options.Json = False,
) -> None:
    """Show what there is to compute with; or estimate memory and time of training, recipe by recipe.

    Exit code 1 if no recipe that is planned for fits into the memory that is free.
    """
    columns = data_changes(
        user=user, item=item, weight=weight, min_weight=min_weight,
        text_ids=text_ids, separator=separator, names=names, encoding=encoding, quote=quote,
    )  # fmt: skip
    if plan is None and config is None:
        if model or any(value is not None for value in columns.values()):
            raise ConfigError("recipes and columns are for a plan; say of what: --plan FILE")
        from recoder.cli.environment import environment, print_environment

        found = environment()
        if json:
            print_json(found)
        else:
            print_environment(console(), found)
        return
    from recoder.cli.doctor import plan_for, print_plan

    data = {"path": plan, "time": "", "title": "", **columns}
    planned = plan_for(settings(config, data=data).data, model or ())
    if json:
        print_json(planned)
    else:
        print_plan(console(), planned)
    if all(each["fits"] is False for each in planned["recipes"]):
        raise typer.Exit(NEGATIVE)
