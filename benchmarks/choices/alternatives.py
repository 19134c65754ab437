"""What the defaults of each recipe are compared with, one change at a time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from recoder.recipes import RECIPES, Recipe, UsersPerBatch

__all__ = ["ALTERNATIVES", "Change", "change_text", "changed"]

Change = Mapping[str, Any]
"""Arguments of the model, of ``Recoder`` or of ``Recoder.train``; or ``users_per_batch`` of the recipe itself."""

_TWICE_THE_STEPS = {"users_per_batch": UsersPerBatch(100, 50, 250)}
_HALF_THE_STEPS = {"users_per_batch": UsersPerBatch(25, 200, 1000)}

ALTERNATIVES: Mapping[str, tuple[Change, ...]] = {
    "autoencoder": (
        {"is_constrained": False},
        {"hidden_layers": [100]},
        {"hidden_layers": [400]},
        {"hidden_layers": [400, 200]},
        {"activation_type": "none"},
        {"activation_type": "selu"},
        {"noise_prob": 0.3},
        {"noise_prob": 0.7},
        {"dropout_prob": 0.0},
        {"dropout_prob": 0.3},
        {"dropout_prob": 0.7},
        {"loss": "logloss"},
        {"loss": "logloss", "logq_correction": True},
        {"logq_correction": True},
        {"lr": 5e-3},
        {"lr": 2e-2},
        {"lr_schedule": "constant"},
        {"num_epochs": 5},
        {"num_epochs": 20},
        {"weight_decay": 2e-5},
        {"max_grad_norm": 1.0},
        {"popularity_bias": False},
        {"num_uniform_negatives": 0},
        {"num_uniform_negatives": 3000},
        _TWICE_THE_STEPS,
        _HALF_THE_STEPS,
    ),
    "als": (
        {"embedding_size": 100},
        {"embedding_size": 400},
        {"l2_power": 0.0},
        {"l2_power": 1.0},
        {"confidence_power": 0.0},
        {"confidence_power": 0.5},
        {"loss_params": {"confidence": 10.0}},
        {"loss_params": {"confidence": 40.0}},
        {"weight_decay": 15.0},
        {"weight_decay": 60.0},
        {"num_epochs": 4},
        {"num_epochs": 16},
    ),
    "ease": ({"l2": 30.0}, {"l2": 50.0}, {"l2": 200.0}, {"l2": 500.0}),
    "edlae": (
        {"l2": 25.0},
        {"l2": 100.0},
        {"dropout_prob": 0.3},
        {"dropout_prob": 0.7},
        {"popularity_discount": 0.0},
        {"popularity_discount": 0.2},
    ),
    "elsa": (
        {"embedding_size": 128},
        {"embedding_size": 512},
        {"noise_prob": 0.3},
        {"lr": 5e-3},
        {"lr": 2e-2},
        {"num_epochs": 10},
        {"num_epochs": 40},
    ),
}


def changed(name: str, change: Change) -> Recipe:
    """Returns a recipe with a change."""
    of_batches = {key: value for key, value in change.items() if key == "users_per_batch"}
    others = {key: value for key, value in change.items() if key not in of_batches}
    return replace(RECIPES[name].but(**others), **of_batches)


def change_text(change: Change) -> str:
    """Returns a change in words."""
    words = []
    for name, value in change.items():
        if isinstance(value, UsersPerBatch):
            value = f"1/{value.batches} of the users, {value.at_least} to {value.at_most}"
        words.append(f"{name}={value}")
    return ", ".join(words)
