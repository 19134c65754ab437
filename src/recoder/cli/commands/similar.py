"""``recoder similar``."""

from __future__ import annotations

from typing import Annotated

import typer

from recoder.cli import options
from recoder.cli.output import console, print_json

__all__ = ["EXAMPLE", "similar"]

EXAMPLE = "recoder similar movies.model 296 318 --k 5"


def similar(
    model: options.Model,
    ids: Annotated[list[str], typer.Argument(metavar="ID...", help="Items, or with --users users.")],
    k: Annotated[int, typer.Option("--k", min=1, help="How many similar ones of each.")] = 10,
    users: Annotated[bool, typer.Option("--users", help="The ids are of users in training.")] = False,
    json: options.Json = False,
) -> None:
    """Show the items that are most similar to others, or the users."""
    from recoder.cli.answers import check_knows_users, load_model, print_answers, typed_ids

    fitted = load_model(model)
    if users:
        check_knows_users(model, fitted, may_lack_histories=True)
        found = fitted.similar_users(typed_ids(ids, fitted.interactions.user_ids), k)
    else:
        has_titles = fitted.interactions.titles is not None
        found = fitted.similar_items(typed_ids(ids, fitted.item_ids), k, titles=has_titles)
    if json:
        print_json(found.to_pylist())
        return
    kind = "user" if users else "item"
    headings = {f"{kind}_id": f"similar to {kind}", "rank": "rank", f"similar_{kind}_id": kind, "title": "title"}
    print_answers(console(), found, {**headings, "score": "score"}, asked=f"{kind}_id")
