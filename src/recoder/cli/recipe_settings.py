"""The settings of a recipe in a configuration: which there are, and of what type."""

from __future__ import annotations

import typing
from dataclasses import replace
from typing import Any

from recoder.cli.config import Config
from recoder.cli.conversion import SettingError, convert, nearest
from recoder.recipes import RECIPES, Recipe

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
        SettingError: if there is no such recipe, or a setting is not known or not of its type.
    """
    name = config.model.recipe
    if name not in RECIPES:
        raise SettingError(("model", "recipe"), f"there is no recipe {name!r}; {nearest(name, list(RECIPES))}")
    chosen = RECIPES[name]
    hints = _hints(chosen)
    known = [key for key in chosen.arguments() if key not in _SAID_ELSEWHERE]
    given = {}
    for key, value in config.model.settings.items():
        if key in _SAID_ELSEWHERE:
            raise SettingError((*_AT, key), _SAID_ELSEWHERE[key])
        if key not in known:
            raise SettingError((*_AT, key), f"the recipe {name!r} has no {key!r}; {nearest(key, known)}")
        if value is not None:  # a file of ours writes down what a recipe leaves open
            given[key] = convert(value, hints[key], (*_AT, key))
    everything = {**chosen.model, **chosen.recoder, **chosen.train, **given}
    return replace(config, model=replace(config.model, settings={key: _plain(everything[key]) for key in everything}))


def _hints(chosen: Recipe) -> dict[str, Any]:
    """Returns the annotation of each argument."""
    found: dict[str, Any] = {}
    for taker in reversed(chosen.takers()):
        function: Any = vars(taker)["__init__"] if isinstance(taker, type) else taker
        found |= typing.get_type_hints(function)
    return found


def _plain(value: Any) -> Any:
    """Returns a value of JSON and TOML."""
    return list(value) if isinstance(value, tuple) else value
