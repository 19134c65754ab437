"""Recipes: a model with the settings that it is trained with, under one name.

Each was chosen on validation users (most of the autoencoder's settings on other held-out users first) of two to eight
public data sets, from a thousand to ninety thousand users and three hundred to two hundred thousand items; there are no
settings for single data sets. ``docs/experiments.md`` has what was tried, and ``benchmarks/CHOICES.md`` compares
defaults with others on validation users.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import torch

from recoder.data.datasets import RecommendationDataset
from recoder.errors import ConfigError, DataTypeError
from recoder.model import Recoder
from recoder.nn import (
    EASE,
    ELSA,
    DynamicAutoencoder,
    FactorizationModel,
    MatrixFactorization,
    MultVAE,
    Popularity,
    RecVAE,
)

__all__ = ["RECIPES", "Recipe", "recipe"]

_PASSED_OTHERWISE = ("self", "model", "train_dataset", "val_dataset", "seed", "device", "num_items", "num_users")
_OF_VALIDATION = ("eval_batch_size", "eval_num_recommendations", "eval_num_users")
_DEFAULT_BATCH_SIZE: int = inspect.signature(Recoder.train).parameters["batch_size"].default


@dataclass(frozen=True)
class UsersPerBatch:
    """How many users a batch has: a share of all users, within limits.

    Attributes:
        batches: what the users are divided by.
        at_least: users that a batch has, whatever the share is.
        at_most: likewise.
    """

    batches: int = 50
    at_least: int = 100
    at_most: int = 500

    def of(self, num_users: int) -> int:
        """Returns the size of a batch for so many users."""
        return min(max(num_users // self.batches, self.at_least), self.at_most)


@dataclass(frozen=True)
class Recipe:
    """A model's class, and the arguments of the model, of ``Recoder`` and of ``Recoder.train``.

    Attributes:
        make_model: the model's class.
        model: its arguments, by name.
        recoder: those of ``Recoder``.
        train: those of ``Recoder.train``. A ``batch_size`` of None is what ``users_per_batch`` makes of the users.
        users_per_batch: a fiftieth of the users, but 100 to 500, unless a step costs the same for any batch.
        name: that it has in ``RECIPES``, or that it was made of by ``but`` has; None for one of your own.
    """

    make_model: Callable[..., FactorizationModel]
    model: Mapping[str, Any]
    recoder: Mapping[str, Any]
    train: Mapping[str, Any]
    users_per_batch: UsersPerBatch = UsersPerBatch()
    name: str | None = None

    @staticmethod
    def of(model: FactorizationModel) -> Recipe:
        """Returns one for a model that is there already, with the defaults of ``Recoder`` and ``Recoder.train``."""
        if not isinstance(model, FactorizationModel):
            raise DataTypeError(
                f"model is {getattr(model, '__name__', f'a {type(model).__name__}')}; pass the name of a recipe "
                f"({', '.join(RECIPES)}) or an object of a recoder.nn.FactorizationModel"
            )
        return Recipe(lambda: model, {}, {}, {})

    def but(self, **settings: Any) -> Recipe:
        """Returns the recipe with other arguments of the model, of ``Recoder`` or of ``Recoder.train``.

        Raises:
            ConfigError: if none of them has an argument of that name, or the model does not use it.
        """
        known = self.arguments()
        unknown = sorted(settings.keys() - known.keys())
        if unknown:
            names = ", ".join(sorted(known)) or "nothing to change"
            raise ConfigError(f"the recipe has no {', '.join(unknown)}; it has {names}")
        model, recoder, train = (
            {**part, **{k: value for k, value in settings.items() if known[k] == place}}
            for place, part in enumerate((self.model, self.recoder, self.train))
        )
        return replace(self, model=model, recoder=recoder, train=train)

    def takers(self) -> tuple[Callable[..., Any], ...]:
        """Returns what takes the arguments of each part: the model's class, ``Recoder`` and its ``train``."""
        return self.make_model, Recoder, Recoder.train

    def arguments(self) -> dict[str, int]:
        """Returns the names of all arguments that the model uses, each with the part that it belongs to."""
        is_solved = self.make_model(**self.model).is_solved  # has nothing to be told of steps
        return {
            name: place
            for place, taker in reversed(list(enumerate(self.takers())))
            for name in inspect.signature(taker).parameters
            if name not in _PASSED_OTHERWISE and not (is_solved and place > 0 and name not in _OF_VALIDATION)
        }

    def fit(
        self,
        train_dataset: RecommendationDataset,
        val_dataset: RecommendationDataset | None = None,
        *,
        seed: int | None = None,
        device: str | torch.device | None = None,
        **more: Any,
    ) -> Recoder:
        """Returns a ``Recoder`` that has trained the model on a data set.

        Args:
            train_dataset: what to learn from.
            val_dataset: validation users, as in ``Recoder.train``.
            seed: as in ``Recoder``.
            device: likewise.
            more: further arguments of ``Recoder.train``, such as ``metrics`` and ``eval_freq``.

        Raises:
            ConfigError, DataError and others: as ``Recoder.train``.
        """
        recoder = self.new_recoder(seed=seed, device=device)
        self.train_with(recoder, train_dataset, val_dataset, **more)
        return recoder

    def new_recoder(self, *, seed: int | None = None, device: str | torch.device | None = None) -> Recoder:
        """Returns a ``Recoder`` that has trained nothing yet."""
        return Recoder(self.make_model(**self.model), **self.recoder, seed=seed, device=device)

    def train_with(
        self,
        recoder: Recoder,
        train_dataset: RecommendationDataset,
        val_dataset: RecommendationDataset | None = None,
        **more: Any,
    ) -> None:
        """Trains a ``Recoder`` with the recipe's arguments of ``Recoder.train``.

        Args:
            recoder: to train.
            train_dataset: as in ``fit``, like the following.
            val_dataset: validation users.
            more: further arguments of ``Recoder.train``.
        """
        arguments = {**self.train, **more}
        if "batch_size" in arguments:
            arguments["batch_size"] = replace(self, train=arguments).batch_size(len(train_dataset))
        recoder.train(train_dataset, val_dataset, **arguments)

    def batch_size(self, num_users: int) -> int:
        """Returns how many users a batch has, of so many."""
        asked: int | None = self.train.get("batch_size", _DEFAULT_BATCH_SIZE)
        return self.users_per_batch.of(num_users) if asked is None else asked

    def steps_per_epoch(self, num_users: int) -> int:
        """Returns how many batches so many users make."""
        return math.ceil(num_users / self.batch_size(num_users))


_BY_STEPS: dict[str, Any] = {"batch_size": None, "lr_schedule": "cosine", "weight_decay": 0.0}
_SAMPLED: dict[str, Any] = {
    "popularity_bias": True,
    "negative_sampling": True,
    "num_uniform_negatives": 1000,
    "num_sampling_users": 0,
    "logq_correction": False,
}

_RECIPES = {
    "popularity": Recipe(Popularity, {}, {}, {}),
    "autoencoder": Recipe(
        DynamicAutoencoder,
        {
            "hidden_layers": [200],
            "activation_type": "tanh",
            "is_constrained": True,
            "noise_prob": 0.5,
            "dropout_prob": 0.5,
        },
        {"optimizer_type": "adam", "loss": "logistic", "precision": "fp32"},
        {**_BY_STEPS, **_SAMPLED, "lr": 1e-2, "num_epochs": 10},
    ),
    "als": Recipe(
        MatrixFactorization,
        {"embedding_size": 200, "fold_in": True, "l2_power": 0.5, "confidence_power": 0.3},
        {"optimizer_type": "als", "loss": "mse", "loss_params": {"confidence": 20.0}},
        {"weight_decay": 30.0, "num_epochs": 8},
    ),
    "ease": Recipe(EASE, {"l2": 100.0, "dropout_prob": 0.0, "popularity_discount": 0.0}, {}, {}),
    "edlae": Recipe(EASE, {"l2": 50.0, "dropout_prob": 0.5, "popularity_discount": 0.1}, {}, {}),
    "multvae": Recipe(
        MultVAE,
        {"hidden_layers": [600, 200], "noise_prob": 0.5, "kl_weight": 0.2, "kl_steps": 2_000, "is_constrained": True},
        {"optimizer_type": "adam", "loss": "logistic", "precision": "fp32"},
        {**_BY_STEPS, **_SAMPLED, "lr": 3e-3, "num_epochs": 20},
    ),
    "recvae": Recipe(
        RecVAE,
        {"hidden_size": 300, "latent_size": 200, "noise_prob": 0.5, "gamma": 0.005, "encoder_passes": 3},
        {"optimizer_type": "adam", "loss": "logistic", "precision": "fp32"},
        {**_BY_STEPS, **_SAMPLED, "lr": 2e-3, "num_epochs": 15},
    ),
    "elsa": Recipe(
        ELSA,
        {"embedding_size": 256, "noise_prob": 0.0},
        {"optimizer_type": "adam"},
        {**_BY_STEPS, "lr": 1e-2, "num_epochs": 20},
        UsersPerBatch(batches=6, at_least=1, at_most=10_000),
    ),
}

RECIPES: Mapping[str, Recipe] = MappingProxyType({name: replace(made, name=name) for name, made in _RECIPES.items()})
"""By name."""


def recipe(name: str) -> Recipe:
    """Returns the recipe of a name.

    Raises:
        ConfigError: if there is none.
    """
    if name not in RECIPES:
        raise ConfigError(f"there is no recipe {name!r}; choose one of {', '.join(RECIPES)}")
    return RECIPES[name]
