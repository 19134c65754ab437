"""``recoder recommend``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from recoder.cli import options
from recoder.cli.options import check_unused, data_changes
from recoder.cli.output import console, print_json, say
from recoder.errors import ConfigError

__all__ = ["EXAMPLE", "recommend"]

EXAMPLE = "recoder recommend movies.model histories.parquet --k 20 --out lists.parquet"

_WHAT = "What to recommend"


def recommend(
    model: options.Model,
    file: Annotated[
        str | None,
        typer.Argument(
            metavar="FILE",
            help="Histories, a row for each interaction; or, without items, users in training.",
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="The file to write: .parquet, .csv or .tsv. Without FILE: all users.")
    ] = None,
    for_: Annotated[
        list[str] | None, typer.Option("--for", metavar="ID", help="A user in training; again for more.")
    ] = None,
    history: Annotated[
        list[str] | None,
        typer.Option("--history", metavar="ID,ID,...", help="Items that somebody has; again for more people."),
    ] = None,
    k: Annotated[int, typer.Option("--k", min=1, help="Items for each user.", rich_help_panel=_WHAT)] = 10,
    keep_seen: Annotated[
        bool, typer.Option("--keep-seen", help="Recommend what a user has too.", rich_help_panel=_WHAT)
    ] = False,
    candidates: Annotated[
        str | None,
        typer.Option("--candidates", help="File of the only items to recommend.", rich_help_panel=_WHAT),
    ] = None,
    exclude: Annotated[
        str | None, typer.Option("--exclude", help="File of items to leave out.", rich_help_panel=_WHAT)
    ] = None,
    titles: Annotated[
        bool | None,
        typer.Option("--titles/--no-titles", help="Add titles. [default: without --out]", rich_help_panel=_WHAT),
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
    json: options.Json = False,
) -> None:
    """Recommend items, to a few people here, or to those of a file, of any length, in another file."""
    from recoder.cli.answers import as_trained, load_model, print_answers
    from recoder.cli.config import changed
    from recoder.cli.recommending import Question, recommend_to_file, recommend_to_typed
    from recoder.cli.table_files import check_table_file

    for_, history = for_ or [], history or []
    _check(file, out, for_, history)
    of_text: dict[str, Any] = {
        "text_ids": text_ids, "separator": separator, "names": names, "encoding": encoding, "quote": quote,
    }  # fmt: skip
    of_lists = {"item": item, **of_text} if candidates is None and exclude is None else {}
    if file is None:
        check_unused({"user": user, "weight": weight, "min_weight": min_weight, **of_lists}, "give FILE too")
    if out is not None:
        check_table_file(out, inputs=[model, file, candidates, exclude])
    fitted = load_model(model)
    form = data_changes(**of_text, time="", title="")
    trained = as_trained(fitted)
    data = changed(
        trained, {**form, "path": file, "user": user, "item": item, "weight": weight, "min_weight": min_weight}
    )
    listed = changed(trained, {**form, "user": "", "item": item or None, "weight": ""})
    shows_titles = fitted.interactions.titles is not None and out is None if titles is None else titles
    options_: dict[str, Any] = {"exclude_seen": not keep_seen, "titles": shows_titles}
    files = {"candidates": candidates, "exclude": exclude}
    question = Question(model, fitted, k, options_).with_items(
        {name: changed(listed, {"path": path}) for name, path in files.items() if path is not None},
        may_have_another_name=file is not None and bool(item),
    )
    if out is not None:
        written = recommend_to_file(question, None if file is None else data, out)
        if json:
            print_json(written)
        else:
            say(console(), f"{written['rows']:,} recommendations for {written['users']:,} users in {written['file']}")
        return
    answers = recommend_to_typed(question, for_, history)
    if json:
        print_json(answers.to_pylist())
    else:
        headings = {"user_id": "user", "rank": "rank", "item_id": "item", "title": "title", "score": "score"}
        print_answers(console(), answers, headings, asked="user_id")


def _check(file: str | None, out: Path | None, users: list[str], histories: list[str]) -> None:
    if users and histories:
        raise ConfigError("give either users with --for, or histories with --history")
    if (users or histories) and (file is not None or out is not None):
        raise ConfigError("--for and --history are answered here; leave FILE and --out out")
    if not users and not histories and out is None:
        raise ConfigError("say to whom: --for ID, --history ID,ID,..., or a FILE and --out for its lists")
