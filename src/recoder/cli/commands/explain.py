"""``recoder explain``."""

from __future__ import annotations

from typing import Annotated

import typer

from recoder.cli import options
from recoder.cli.output import console, print_json
from recoder.errors import ConfigError

__all__ = ["EXAMPLE", "explain"]

EXAMPLE = "recoder explain movies.model 296 --history 318,593,2571"


def explain(
    model: options.Model,
    item: Annotated[str, typer.Argument(metavar="ITEM", help="The item that is recommended.")],
    for_: Annotated[str | None, typer.Option("--for", metavar="ID", help="To whom: a user in training.")] = None,
    history: Annotated[
        str | None, typer.Option("--history", metavar="ID,ID,...", help="Or to somebody who has these items.")
    ] = None,
    json: options.Json = False,
) -> None:
    """Show which of somebody's own items speak for an item: how far its score falls without each."""
    from recoder.cli.answers import check_knows_users, load_model, print_answers, typed_ids

    if (for_ is None) == (history is None):
        raise ConfigError("say to whom the item is recommended: either --for ID or --history ID,ID,...")
    fitted = load_model(model)
    (item_id,) = typed_ids([item], fitted.item_ids)
    has_titles = fitted.interactions.titles is not None
    if for_ is not None:
        check_knows_users(model, fitted)
        (user,) = typed_ids([for_], fitted.interactions.user_ids)
        found = fitted.explain(user=user, item=item_id, titles=has_titles)
    else:
        items = typed_ids([each.strip() for each in str(history).split(",") if each.strip()], fitted.item_ids)
        found = fitted.explain(history=items, item=item_id, titles=has_titles)
    if json:
        print_json(found.to_pylist())
    else:
        headings = {"rank": "rank", "item_id": "own item", "title": "title", "score_drop": "score without it falls by"}
        print_answers(console(), found, headings)
