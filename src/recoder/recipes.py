"""Recipes: a model with the settings it is trained with, under one name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from recoder.data.datasets import RecommendationDataset
from recoder.errors import ConfigError
from recoder.model import Recoder
from recoder.nn import DynamicAutoencoder, FactorizationModel, MatrixFactorization, Popularity

__all__ = ["RECIPES", "Recipe", "recipe"]


@dataclass(frozen=True)
class Recipe:
    """A model's class, and the arguments of the model, of ``Recoder`` and of ``Recoder.train``.

    Attributes:
        make_model: the model's class.
        model, recoder, train: arguments by name.
    """

    make_model: Callable[..., FactorizationModel]
    model: Mapping[str, Any]
    recoder: Mapping[str, Any]
    train: Mapping[str, Any]

    def but(self, **settings: Any) -> Recipe:
        """Returns the recipe with some of its arguments changed.

        Raises:
            ConfigError: if the recipe has no argument of that name.
        """
        known = {*self.model, *self.recoder, *self.train}
        unknown = sorted(settings.keys() - known)
        if unknown:
            raise ConfigError(
                f"the recipe has no {', '.join(unknown)}; it has {', '.join(sorted(known)) or 'nothing to change'}"
            )
        parts = (
            {**part, **{name: value for name, value in settings.items() if name in part}}
            for part in (self.model, self.recoder, self.train)
        )
        return Recipe(self.make_model, *parts)

    def fit(
        self, train_dataset: RecommendationDataset, val_dataset: RecommendationDataset | None = None, *, seed: int
    ) -> Recoder:
        """Returns a ``Recoder`` that has trained the model on a data set."""
        recoder = Recoder(self.make_model(**self.model), **self.recoder, seed=seed)
        recoder.train(train_dataset, val_dataset, **self.train)
        return recoder


RECIPES: Mapping[str, Recipe] = MappingProxyType(
    {
        "popularity": Recipe(Popularity, {}, {}, {}),
        "autoencoder": Recipe(
            DynamicAutoencoder,
            {"hidden_layers": [200], "activation_type": "tanh", "noise_prob": 0.5, "dropout_prob": 0.0},
            {"optimizer_type": "adam", "loss": "logloss", "precision": "fp32"},
            {"lr": 3e-3, "batch_size": 250, "num_epochs": 20},
        ),
        "mf": Recipe(
            MatrixFactorization,
            {"embedding_size": 64, "dropout_prob": 0.0},
            {"optimizer_type": "adam", "loss": "logloss", "precision": "fp32"},
            {"lr": 1e-2, "batch_size": 500, "num_epochs": 20},
        ),
    }
)
"""By name."""


def recipe(name: str) -> Recipe:
    """Returns the recipe of a name.

    Raises:
        ConfigError: if there is none.
    """
    if name not in RECIPES:
        raise ConfigError(f"there is no recipe {name!r}; there are {', '.join(RECIPES)}")
    return RECIPES[name]
