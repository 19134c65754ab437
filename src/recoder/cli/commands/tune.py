"""``recoder tune``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from recoder.cli import options
from recoder.cli.config import Config, TrainingConfig, TuneConfig, changed
from recoder.cli.groups import exit_code_of_interrupt
from recoder.cli.options import assigned, completed_settings, data_changes, held_out
from recoder.cli.output import console, print_json, print_text, tell

__all__ = ["EXAMPLE", "tune"]

EXAMPLE = "recoder tune ratings.parquet --model als --trials 10 --out movies.model"

_DEFAULT, _TUNE = TrainingConfig(), TuneConfig()
_HELD_OUT = 0.1


def tune(
    file: options.File = None,
    model: Annotated[str | None, typer.Option("--model", show_default="autoencoder", help="Recipe to tune.")] = None,
    out: Annotated[Path | None, typer.Option("--out", help="File of the best model.")] = None,
    trials: Annotated[
        int | None,
        typer.Option("--trials", min=1, show_default=str(_TUNE.trials), help="In total, those in the study included."),
    ] = None,
    minutes: Annotated[float | None, typer.Option("--minutes", min=0, help="Start no trial after so many.")] = None,
    study: Annotated[
        Path | None, typer.Option("--study", show_default="OUT.sqlite", help="File that a stopped tuning goes on from.")
    ] = None,
    metric: Annotated[
        str | None,
        typer.Option("--metric", show_default=_TUNE.metric, help="What is to be as large as possible."),
    ] = None,
    valid: Annotated[
        float | None,
        typer.Option("--valid", show_default=str(_HELD_OUT), help="Users to choose by: a share, or a number."),
    ] = None,
    test: Annotated[
        float | None,
        typer.Option("--test", show_default=str(_HELD_OUT), help="Users to judge the best by, likewise."),
    ] = None,
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
        bool | None,
        typer.Option(
            "--histories/--no-histories", show_default=False, help="Keep user ids and histories in the model file."
        ),
    ] = None,
    min_weight: options.MinWeight = None,
    weights: Annotated[
        bool | None,
        typer.Option("--weights/--no-weights", show_default=False, help="Weights count; else each interaction is 1."),
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
    print_config: Annotated[
        bool, typer.Option("--print-config", help="Print all settings as TOML, and tune nothing.")
    ] = False,
    json: options.Json = False,
) -> None:
    """Find good settings of a recipe for some data, and save the best model.

    The first trial is the recipe as it is. A stopped tuning goes on when the command is given again.
    """
    from recoder.cli.out_files import check_outs
    from recoder.cli.recipe_settings import completed
    from recoder.cli.training import effective
    from recoder.cli.tuning import Stopped, print_tuning, tune_model

    changes = {
        "data": data_changes(
            path=file, user=user, item=item, weight=weight, time=time, title=title, text_ids=text_ids,
            separator=separator, names=names, encoding=encoding, quote=quote, min_weight=min_weight,
            binary=None if weights is None else not weights,
        ),
        "model": {"recipe": model, "settings": assigned(set_ or [])},
        "training": {"seed": seed, "device": device},
        "output": {"model": None if out is None else str(out), "histories": histories},
        "tune": {
            "trials": trials, "minutes": minutes, "metric": metric, "study": None if study is None else str(study),
        },
    }  # fmt: skip

    def complete(base: Config) -> Config:
        shares = (valid, test) if base.split.kind != "none" else (_or_usual(valid), _or_usual(test))
        asked = held_out(changed(base, changes), *shares)
        completed(asked)  # says what is wrong; what is not set is tuned
        return asked

    asked = completed_settings(config, complete)
    if print_config:
        from recoder.cli.toml_files import write_toml

        print_text(write_toml(effective(asked)))
        return
    check_outs(inputs=[config], out=asked.output.model, study=asked.tune.study)
    try:
        done = tune_model(asked)
    except Stopped as stopped:
        tell(stopped)
        raise typer.Exit(exit_code_of_interrupt()) from None
    if json:
        print_json(done)
    else:
        print_tuning(console(), done)


def _or_usual(share: float | None) -> float:
    return _HELD_OUT if share is None else share
