"""``recoder tune``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from recoder.cli import options
from recoder.cli.config import Config, TrainingConfig, changed
from recoder.cli.options import assigned, completed_settings, data_changes
from recoder.cli.output import console, print_json

__all__ = ["EXAMPLE", "tune"]

EXAMPLE = "recoder tune ratings.parquet --model als --trials 10 --out movies.model"

_DEFAULT = TrainingConfig()


def tune(
    file: options.File = None,
    model: Annotated[str | None, typer.Option("--model", show_default="autoencoder", help="Recipe to tune.")] = None,
    out: Annotated[Path | None, typer.Option("--out", help="File of the best model.")] = None,
    trials: Annotated[int, typer.Option("--trials", min=1, help="In total, those in the study included.")] = 20,
    minutes: Annotated[float | None, typer.Option("--minutes", min=0, help="Start no trial after so many.")] = None,
    study: Annotated[
        Path | None, typer.Option("--study", show_default="OUT.sqlite", help="File that a stopped tuning goes on from.")
    ] = None,
    metric: Annotated[str, typer.Option("--metric", help="What is to be as large as possible.")] = "NDCG@100",
    valid: Annotated[float, typer.Option("--valid", help="Users to choose by: a share, or a number.")] = 0.1,
    test: Annotated[float, typer.Option("--test", help="Users to judge the best by, likewise.")] = 0.1,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="A setting that is not to be tuned; again for more."),
    ] = None,
    seed: Annotated[
        int | None, typer.Option("--seed", min=0, show_default=str(_DEFAULT.seed), help="Of everything that is drawn.")
    ] = None,
    device: Annotated[
        str | None, typer.Option("--device", show_default=_DEFAULT.device, help="Where to compute: cpu, cuda, ...")
    ] = None,
    histories: Annotated[
        bool | None, typer.Option("--histories", help="Keep user ids and histories in the model file.")
    ] = None,
    min_weight: options.MinWeight = None,
    weights: Annotated[
        bool | None, typer.Option("--weights", help="Weights count; else each interaction is 1.")
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
    config: options.ConfigFile = None,
    json: options.Json = False,
) -> None:
    """Find good settings of a recipe for some data, and save the best model.

    The first trial is the recipe as it is. A stopped tuning goes on when the command is given again.
    """
    from recoder.cli.tuning import print_tuning, tune_model

    changes = {
        "data": data_changes(
            path=file, user=user, item=item, weight=weight, time=time, title=title, text_ids=text_ids,
            separator=separator, names=names, encoding=encoding, min_weight=min_weight,
            binary=None if weights is None else not weights,
        ),
        "split": {"kind": "strong", "valid": valid, "test": test},
        "model": {"recipe": model, "settings": assigned(set_ or [])},
        "training": {"seed": seed, "device": device, "metrics": (metric,)},
        "output": {"model": None if out is None else str(out), "histories": histories},
    }  # fmt: skip

    def complete(base: Config) -> Config:
        return changed(base, changes)

    done = tune_model(completed_settings(config, complete), trials=trials, minutes=minutes, study=study)
    if json:
        print_json(done)
    else:
        print_tuning(console(), done)
