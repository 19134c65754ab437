"""The settings of a recipe in a configuration: which there are, and of what type."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

from recoder._checks import nearest
from recoder.api.judging import DEFAULT_METRICS
from recoder.cli.config import Config, TrainingConfig
from recoder.cli.conversion import SettingError, convert
from recoder.data.loader import check_sampling
from recoder.errors import ConfigError
from recoder.losses import make_loss
from recoder.model import Recoder
from recoder.recipes import RECIPES, Recipe
from recoder.training.checks import check_model
from recoder.training.config import TrainConfig

__all__ = ["completed"]

_AT = ("model", "settings")
_SAID_ELSEWHERE = {
    "callbacks": "say output.log for a file of the history",
    "checkpoint_freq": "say output.checkpoint_every",
    "early_stopping": "say training.early_stopping",
    "metrics": "say training.metrics",
    "model_checkpoint_prefix": "say output.model",
    "use_cuda": 'say training.device = "cuda"',
}


def completed(config: Config) -> Config:
    """Returns a configuration whose settings are all there, those that it leaves out as the recipe has them.

    Raises:
        SettingError: if there is no such recipe, a setting is not known, not of its type or out of range, or something
            else is said that a recipe without epochs has no use for.
    """
    name = config.model.recipe
    if name not in RECIPES:
        raise SettingError(("model", "recipe"), f"there is no recipe {name!r}; {nearest(name, list(RECIPES))}", name)
    chosen = RECIPES[name]
    hints = _hints(chosen)
    known = [key for key in chosen.arguments() if key not in _SAID_ELSEWHERE]
    given = {}
    for key, value in config.model.settings.items():
        if key in _SAID_ELSEWHERE:
            raise SettingError((*_AT, key), _SAID_ELSEWHERE[key], value)
        if key not in known:
            raise SettingError((*_AT, key), f"the recipe {name!r} has no {key!r}; {nearest(key, known)}", value)
        if value is not None:  # a file of ours writes down what a recipe leaves open
            given[key] = convert(value, hints[key], (*_AT, key))
    _check_values(chosen, given)
    _check_use(config, has_epochs="num_epochs" in known)
    everything = {**chosen.model, **chosen.recoder, **chosen.train, **given}
    return replace(config, model=replace(config.model, settings={key: _plain(everything[key]) for key in everything}))


def _hints(chosen: Recipe) -> dict[str, Any]:
    """Returns the annotation of each argument."""
    found: dict[str, Any] = {}
    for taker in reversed(chosen.takers()):
        function: Any = vars(taker)["__init__"] if isinstance(taker, type) else taker
        found |= typing.get_type_hints(function)
    return found


def _check_values(chosen: Recipe, given: Mapping[str, Any]) -> None:
    """Checks the values as training will, before there are data.

    Raises:
        SettingError: if one cannot be, alone or with the others.
    """
    error = _what_is_wrong(chosen.but(**given))
    if error is None:
        return
    for key, value in given.items():
        alone = _what_is_wrong(chosen.but(**{key: value}))
        if alone is not None:
            raise SettingError((*_AT, key), alone, value)
    raise SettingError((*_AT, [*given][-1]), error)


def _what_is_wrong(chosen: Recipe) -> str | None:
    try:
        recoder = chosen.new_recoder(seed=0)
        if not recoder.model.is_solved:
            defaults = inspect.signature(Recoder.train).parameters
            arguments = {field.name: defaults[field.name].default for field in fields(TrainConfig)} | dict(chosen.train)
            if arguments["eval_freq"]:  # metrics are said elsewhere
                arguments["metrics"] = list(DEFAULT_METRICS)
            sampled = arguments["num_sampling_users"]
            if arguments["batch_size"] is None:  # it follows the number of users, so that any number may be a multiple
                arguments["batch_size"] = sampled if isinstance(sampled, int) and sampled > 0 else chosen.batch_size(1)
            asked = TrainConfig(**arguments)
            check_model(
                recoder.model,
                asked,
                make_loss(chosen.recoder.get("loss", "mse"), chosen.recoder.get("loss_params")),
                recoder.optimizer_type,
            )
            check_sampling(
                asked.batch_size, asked.negative_sampling, asked.num_sampling_users, asked.num_uniform_negatives
            )
    except ConfigError as error:
        return str(error)
    return None


def _check_use(config: Config, *, has_epochs: bool) -> None:
    said = {
        ("training", "early_stopping"): config.training.early_stopping,
        ("output", "log"): config.output.log,
        ("output", "checkpoint_every"): config.output.checkpoint_every or None,
    }
    patience = config.training.patience
    if patience != TrainingConfig.patience and config.training.early_stopping is None:
        raise SettingError(
            ("training", "patience"), "it is for early stopping: say training.early_stopping, or leave it out", patience
        )
    for keys, value in said.items():
        if value is not None and not has_epochs:
            raise SettingError(
                keys, f"the recipe {config.model.recipe!r} is solved, it has no epochs: leave it out", value
            )


def _plain(value: Any) -> Any:
    """Returns a value of JSON and TOML."""
    return list(value) if isinstance(value, tuple) else value
