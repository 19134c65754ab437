"""``recoder train``."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated, Any

import typer

from recoder.cli import options
from recoder.cli.config import Config, TrainingConfig, changed
from recoder.cli.groups import exit_code_of_interrupt
from recoder.cli.options import assigned, completed_settings, data_changes, held_out
from recoder.cli.output import console, print_json, print_text, tell
from recoder.errors import ConfigError

__all__ = ["EXAMPLE", "train"]

EXAMPLE = "recoder train ratings.parquet --model autoencoder --out movies.model"

_DEFAULT = TrainingConfig()
_JUDGING = "Validating and testing"
_FILES = "Files"


def train(
    file: options.File = None,
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            show_default="autoencoder",
            help="Recipe: popularity, autoencoder, als, ease, edlae, multvae, recvae or elsa.",
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", help="The model file to write.")] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="Another setting of the recipe, such as lr=0.003; again for more."
        ),
    ] = None,
    epochs: Annotated[int | None, typer.Option("--epochs", min=1, help="The same as --set num_epochs=...")] = None,
    seed: Annotated[
        int | None,
        typer.Option("--seed", min=0, show_default=str(_DEFAULT.seed), help="Of everything that is drawn."),
    ] = None,
    device: Annotated[
        str | None, typer.Option("--device", show_default=_DEFAULT.device, help="Where to compute: cpu, cuda, ...")
    ] = None,
    min_weight: options.MinWeight = None,
    weights: Annotated[
        bool | None,
        typer.Option(
            "--weights/--no-weights", show_default=False, help="Weights count; else every interaction counts 1."
        ),
    ] = None,
    valid: Annotated[
        float | None,
        typer.Option(
            "--valid", help="Users to validate with after each epoch: a share, or a number.", rich_help_panel=_JUDGING
        ),
    ] = None,
    test: Annotated[
        float | None,
        typer.Option("--test", help="Users to test with at the end, likewise.", rich_help_panel=_JUDGING),
    ] = None,
    metric: Annotated[
        list[str] | None,
        typer.Option(
            "--metric",
            show_default=", ".join(_DEFAULT.metrics),
            help="What to judge by; again for more.",
            rich_help_panel=_JUDGING,
        ),
    ] = None,
    early_stopping: Annotated[
        str | None,
        typer.Option(
            "--early-stopping",
            metavar="METRIC",
            help="End when it gets no better in validation, or 'loss'; the best epoch stays.",
            rich_help_panel=_JUDGING,
        ),
    ] = None,
    patience: Annotated[
        int | None,
        typer.Option(
            "--patience",
            min=1,
            show_default=str(_DEFAULT.patience),
            help="Epochs without a better one before that.",
            rich_help_panel=_JUDGING,
        ),
    ] = None,
    resume: Annotated[
        Path | None,
        typer.Option("--resume", help="Go on from this checkpoint, as it was configured.", rich_help_panel=_FILES),
    ] = None,
    checkpoint_every: Annotated[
        int | None,
        typer.Option(
            "--checkpoint-every", min=0, help="Epochs between checkpoints beside --out.", rich_help_panel=_FILES
        ),
    ] = None,
    log: Annotated[
        Path | None,
        typer.Option("--log", help="Write each epoch to this .csv or .jsonl file.", rich_help_panel=_FILES),
    ] = None,
    histories: Annotated[
        bool | None,
        typer.Option(
            "--histories/--no-histories",
            show_default=False,
            help="Keep user ids and histories in the model file; think of privacy.",
            rich_help_panel=_FILES,
        ),
    ] = None,
    config: options.ConfigFile = None,
    print_config: Annotated[
        bool, typer.Option("--print-config", help="Print all settings as TOML, and train nothing.")
    ] = False,
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
    json: options.Json = False,
) -> None:
    """Train a model on interactions, and save it with all that recommending needs.

    Ctrl-C, or SIGTERM, leaves a checkpoint and says how to go on. The settings are kept in the model file.
    """
    from recoder.cli.answers import check_model_file
    from recoder.cli.checkpoints import check_resumable
    from recoder.cli.limits import checked
    from recoder.cli.out_files import check_outs
    from recoder.cli.recipe_settings import completed
    from recoder.cli.train_report import print_training
    from recoder.cli.training import Interrupted, config_of_file, effective, train_model

    changes: dict[str, Any] = {
        "data": data_changes(
            path=file, user=user, item=item, weight=weight, time=time, title=title, text_ids=text_ids,
            separator=separator, names=names, encoding=encoding, quote=quote, min_weight=min_weight,
            binary=None if weights is None else not weights,
        ),
        "model": {"recipe": model, "settings": assigned(set_ or [], num_epochs=epochs)},
        "training": {
            "seed": seed, "device": device, "early_stopping": early_stopping, "patience": patience,
            "metrics": None if metric is None else tuple(metric),
        },
        "output": {
            "model": None if out is None else str(out), "log": None if log is None else str(log),
            "histories": histories, "checkpoint_every": checkpoint_every,
        },
    }  # fmt: skip

    def complete(base: Config) -> Config:
        return completed(held_out(changed(base, changes), valid, test))

    if resume is not None:
        check_model_file(resume)
    kept: Config | None = None
    if resume is None:
        asked = completed_settings(config, complete)
    elif config is None:
        kept = config_of_file(resume)
        asked = checked(complete(kept))
        check_resumable(resume, kept, asked)
    else:
        raise ConfigError("--resume goes on as the checkpoint was configured; leave --config out")
    if print_config:
        from recoder.cli.toml_files import write_toml

        # the columns of what is gone on from were found when it began; the data may be elsewhere
        is_known = kept is not None and asked.data == kept.data
        print_text(write_toml(asked if is_known else effective(asked), without="tune"))
        return
    check_outs(inputs=[config], out=asked.output.model, log=asked.output.log)
    try:
        done = train_model(asked, resume_from=resume)
    except Interrupted as stopped:
        tell(f"{stopped}; go on with: recoder train --resume {shlex.quote(str(stopped.checkpoint))}")
        raise typer.Exit(exit_code_of_interrupt()) from None
    if json:
        print_json(done)
    else:
        print_training(console(), done)
