"""``recoder evaluate``."""

from __future__ import annotations

from typing import Annotated

import typer

from recoder.cli import options
from recoder.cli.config import TrainingConfig
from recoder.cli.options import data_changes
from recoder.cli.output import console, print_json

__all__ = ["EXAMPLE", "evaluate"]

EXAMPLE = "recoder evaluate movies.model --history test_history.parquet --target test_target.parquet"

_METRICS = TrainingConfig().metrics


def evaluate(
    model: options.Model,
    target: Annotated[
        str | None,
        typer.Option("--target", help="Interactions that are to be found; left out: those that training held out."),
    ] = None,
    history: Annotated[
        str | None,
        typer.Option("--history", help="What users had before; left out: users in training, as the model has them."),
    ] = None,
    metric: Annotated[
        list[str] | None,
        typer.Option("--metric", show_default=", ".join(_METRICS), help="What to judge by; again for more."),
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
    """Judge a model by how well it finds interactions that it has not seen, with standard errors."""
    from recoder.cli.evaluating import evaluate_model
    from recoder.cli.train_report import print_metrics

    columns = data_changes(
        user=user, item=item, weight=weight, min_weight=min_weight,
        text_ids=text_ids, separator=separator, names=names, encoding=encoding, quote=quote,
    )  # fmt: skip
    found = evaluate_model(model, history=history, target=target, metrics=metric or list(_METRICS), columns=columns)
    if json:
        print_json(found)
    else:
        print_metrics(console(), {"test": found})
