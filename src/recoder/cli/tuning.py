"""``recoder tune``: the best settings of a recipe, and the model that they made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from recoder.api.fitting import untrained
from recoder.cli.config import Config, TrainingConfig
from recoder.cli.out_files import check_outs
from recoder.cli.output import say, tell
from recoder.cli.reading import to_train_on
from recoder.cli.recipe_settings import completed
from recoder.cli.splitting import make_split
from recoder.cli.train_report import print_metrics
from recoder.cli.training import CONFIG_KEY, early_stopping, effective
from recoder.errors import ConfigError
from recoder.tuning import tune
from recoder.tuning.model_files import ModelFiles

__all__ = ["Stopped", "print_tuning", "tune_model"]


class Stopped(Exception):
    """Tuning was stopped from the keyboard; says from where it goes on."""

    def __init__(self, study: Path) -> None:
        best = ModelFiles(study).present()
        so_far = f"the best model so far is {best}" if best is not None else "no trial was completed yet"
        super().__init__(f"stopped; {so_far}; the study is in {study}: the same command goes on from there")


def tune_model(config: Config) -> dict[str, Any]:
    """Tunes a recipe, saves the best model, and returns what came of it, as JSON values.

    Args:
        config: what is to be trained; its settings are not tuned.

    Raises:
        Stopped: if it was stopped from the keyboard.
        RecoderError, OSError: as reading, splitting and ``recoder.tuning.tune``.
    """
    out = config.output.model
    if out is None:
        raise ConfigError("say where the best model is to go: --out movies.model")
    file = Path(config.tune.study or f"{out}.sqlite")
    check_outs(inputs=[config.data.path], out=out, study=file)
    config = _of_trials(effective(config))
    stopping = early_stopping(config)
    parts = make_split(to_train_on(config.data), config.split)
    if parts.valid is None:
        raise ConfigError("tuning needs users to choose by; hold some out: --valid 0.1")
    minutes = config.tune.minutes
    settings = dict(config.model.settings)
    if stopping is not None:
        settings["early_stopping"] = stopping
    try:
        found = tune(
            parts.train,
            parts.valid,
            config.model.recipe,
            num_trials=config.tune.trials,
            timeout_s=None if minutes is None else 60 * minutes,
            metric=config.tune.metric,
            study=file,
            seed=config.training.seed,
            device=config.training.device,
            **settings,
        )
        settings = {**config.model.settings, **found.best_settings}
        _, fitted = untrained(parts.train, config.model.recipe, device=config.training.device, **settings)
        fitted.recoder = found.recoder
        best = completed(replace(config, model=replace(config.model, settings=settings)))
        fitted.about.more[CONFIG_KEY] = asdict(best)
        if parts.test is not None:
            fitted.evaluate(parts.test, list(dict.fromkeys([config.tune.metric, *config.training.metrics])))
        fitted.save(out, interactions=config.output.histories)
    except KeyboardInterrupt:
        raise Stopped(file) from None
    return {
        "model": out,
        "study": str(file),
        "recipe": config.model.recipe,
        "metric": found.metric,
        "best_trial": found.best.number,
        "best_settings": dict(found.best_settings),
        "trials": [
            {
                "trial": trial.number, "state": trial.state, found.metric: trial.value, "seconds": trial.seconds,
                "settings": dict(trial.settings), "error": trial.error,
            }
            for trial in found.trials
        ],
        "test": fitted.about.metrics[-1] if parts.test is not None else None,
    }  # fmt: skip


def _of_trials(config: Config) -> Config:
    """Returns the same without what trials have no use for, and says what that is."""
    rule = config.training.early_stopping
    if rule not in (None, "loss", config.tune.metric):
        tell(f"trials are judged by {config.tune.metric} alone, so they do not stop early by {rule}")
        rule = None
    if config.output.log or config.output.checkpoint_every:
        tell("a study keeps its trials itself: there is no log of their epochs, and there are no checkpoints")
    output = replace(config.output, log=None, checkpoint_every=0)
    patience = config.training.patience if rule else TrainingConfig.patience
    return replace(config, output=output, training=replace(config.training, early_stopping=rule, patience=patience))


def print_tuning(console: Console, done: Mapping[str, Any]) -> None:
    """Prints what ``tune_model`` returned."""
    metric = done["metric"]
    table = Table("trial", "state", metric, "settings", "seconds")
    for trial in done["trials"]:
        value = "" if trial[metric] is None else f"{trial[metric]:.4f}"
        settings = "\n".join(f"{name} = {_short(chosen)}" for name, chosen in trial["settings"].items())
        is_best = trial["trial"] == done["best_trial"]
        table.add_row(
            str(trial["trial"]),
            trial["state"],
            value,
            Text(settings),  # lists are no markup
            f"{trial['seconds']:.1f}",
            style="bold" if is_best else None,
        )
    console.print(table)
    if done["test"] is not None:
        print_metrics(console, {"test": done["test"]})
    say(console, f"the best is trial {done['best_trial']}; its model is in {done['model']}")
    say(console, f"the study is in {done['study']}: the same command with more --trials goes on from there")


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
