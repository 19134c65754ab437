"""Which arguments of a recipe are worth tuning, and between which values."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from recoder._optional import imported
from recoder.errors import ConfigError
from recoder.recipes import Recipe

__all__ = ["SPACES", "Choice", "Range", "Space", "defaults_of", "settings_of"]


@dataclass(frozen=True)
class Range:
    """Numbers from ``low`` to ``high``, both included; whole ones if both are.

    Args:
        low: the smallest.
        high: the largest.
        log: as many between 1 and 10 as between 10 and 100.

    Raises:
        ConfigError: if there is none, or ``log`` is to reach 0.
    """

    low: float
    high: float
    log: bool = False

    def __post_init__(self) -> None:
        if not self.low <= self.high:
            raise ConfigError(f"{self} is empty; low must not be above high")
        if self.log and self.low <= 0:
            raise ConfigError(f"{self} has no logarithms at its lower end; choose a low above 0")

    @property
    def is_whole(self) -> bool:
        """Whether it is of whole numbers."""
        return isinstance(self.low, int) and isinstance(self.high, int)

    def __contains__(self, value: object) -> bool:
        if isinstance(value, bool) or not isinstance(value, int if self.is_whole else (int, float)):
            return False
        return self.low <= value <= self.high

    def distribution(self) -> Any:
        """Returns it in the words of optuna."""
        distributions = imported("optuna", "tune").distributions
        if self.is_whole:
            return distributions.IntDistribution(self.low, self.high, log=self.log)
        return distributions.FloatDistribution(self.low, self.high, log=self.log)

    def stored(self, value: Any) -> Any:
        """Returns a value as a study keeps it."""
        return value

    def restored(self, value: Any) -> Any:
        """Returns the value that a study kept."""
        return value


@dataclass(frozen=True, init=False)
class Choice:
    """One of several values, between which there is no order.

    Args:
        options: at least one; what JSON can hold, so lists and mappings too.

    Raises:
        ConfigError: if there is none, or one is of another kind.
    """

    options: tuple[Any, ...]

    def __init__(self, *options: Any) -> None:
        if not options:
            raise ConfigError("a Choice needs at least one option")
        for option in options:
            try:
                json.dumps(option)
            except (TypeError, ValueError) as error:
                raise ConfigError(f"the option {option!r} cannot be stored: {error}") from error
        object.__setattr__(self, "options", options)

    def __contains__(self, value: object) -> bool:
        return value in self.options

    def distribution(self) -> Any:
        """Returns it in the words of optuna."""
        options = [self.stored(option) for option in self.options]
        return imported("optuna", "tune").distributions.CategoricalDistribution(options)

    def stored(self, value: Any) -> Any:
        """Returns a value as a study keeps it: lists and mappings as JSON."""
        return json.dumps(value) if isinstance(value, list | tuple | dict) else value

    def restored(self, value: Any) -> Any:
        """Returns the value that a study kept."""
        return next(option for option in self.options if self.stored(option) == value)


Space = Mapping[str, Range | Choice]
"""What to tune, by the names of a recipe's arguments; ``loss_params.confidence`` is an entry of ``loss_params``."""

SPACES: Mapping[str, Space] = MappingProxyType(
    {
        "autoencoder": {
            "hidden_layers": Choice([100], [200], [400], [600], [600, 200]),
            "noise_prob": Range(0.1, 0.7),
            "dropout_prob": Range(0.0, 0.8),
            "lr": Range(2e-3, 3e-2, log=True),
            "num_epochs": Range(5, 40),
            "num_uniform_negatives": Range(100, 4000, log=True),
            "is_constrained": Choice(True, False),
        },
        "als": {
            "embedding_size": Range(64, 400, log=True),
            "loss_params.confidence": Range(2.0, 80.0, log=True),
            "confidence_power": Range(0.0, 0.6),
            "weight_decay": Range(3.0, 200.0, log=True),
            "l2_power": Range(0.0, 1.0),
            "num_epochs": Range(4, 20),
        },
        "ease": {"l2": Range(10.0, 2000.0, log=True), "popularity_discount": Range(0.0, 0.4)},
        "edlae": {
            "l2": Range(5.0, 1000.0, log=True),
            "dropout_prob": Range(0.1, 0.8),
            "popularity_discount": Range(0.0, 0.4),
        },
        "multvae": {
            "hidden_layers": Choice([300, 50], [300, 100], [600, 100], [600, 200]),
            "noise_prob": Range(0.1, 0.7),
            "kl_weight": Range(0.02, 1.0, log=True),
            "lr": Range(5e-4, 1e-2, log=True),
            "num_epochs": Range(10, 40),
            "is_constrained": Choice(True, False),
        },
        "recvae": {
            "hidden_size": Choice(200, 300, 600),
            "latent_size": Range(64, 400, log=True),
            "noise_prob": Range(0.1, 0.7),
            "gamma": Range(5e-4, 3e-2, log=True),
            "lr": Range(3e-4, 6e-3, log=True),
            "num_epochs": Range(8, 30),
        },
        "elsa": {
            "embedding_size": Range(64, 512, log=True),
            "noise_prob": Range(0.0, 0.6),
            "lr": Range(2e-3, 5e-2, log=True),
            "num_epochs": Range(10, 40),
        },
    }
)
"""What to tune of each recipe, by the recipe's name; the recipe's own settings lie within."""


def defaults_of(recipe: Recipe, space: Space) -> dict[str, Any]:
    """Returns the recipe's own values of what is tuned.

    Raises:
        ConfigError: if it has no such argument, or its value is none that the space has.
    """
    known = {**recipe.model, **recipe.recoder, **recipe.train}
    values = {}
    for name, choice in space.items():
        argument, _, entry = name.partition(".")
        if argument not in known or (entry and entry not in known[argument]):
            raise ConfigError(f"the recipe has no {name} to tune; it has {', '.join(sorted(known))}")
        values[name] = known[argument][entry] if entry else known[argument]
        if isinstance(choice, Range) and choice.is_whole and isinstance(values[name], float):
            raise ConfigError(
                f"the recipe has {name}={values[name]!r}, and {choice} is of whole numbers; write "
                f"Range({float(choice.low)}, {float(choice.high)})"
            )
        if values[name] not in choice:
            raise ConfigError(
                f"the recipe has {name}={values[name]!r}, which is not in {choice}, and the first trial is the recipe "
                "as it is: widen the space, or change the recipe with Recipe.but"
            )
    return values


def settings_of(recipe: Recipe, values: Mapping[str, Any]) -> dict[str, Any]:
    """Returns values of what is tuned as arguments of ``Recipe.but``."""
    known = {**recipe.model, **recipe.recoder, **recipe.train}
    settings: dict[str, Any] = {}
    for name, value in values.items():
        argument, _, entry = name.partition(".")
        settings[argument] = {**settings.get(argument, known[argument]), entry: value} if entry else value
    return settings
