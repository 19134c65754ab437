"""``fit``: a recipe or a model, trained on interactions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from recoder.api.about import About
from recoder.api.fitted import FittedModel
from recoder.api.judging import DEFAULT_METRICS
from recoder.data import HeldOut, Interactions, RecommendationDataset
from recoder.errors import ConfigError, DataTypeError, ShapeError
from recoder.metrics import Metric
from recoder.nn import FactorizationModel
from recoder.recipes import Recipe, recipe
from recoder.training.model_file import is_json

__all__ = ["fit"]


def fit(
    train: Interactions,
    model: str | FactorizationModel = "autoencoder",
    *,
    valid: HeldOut | None = None,
    metrics: Sequence[Metric] | None = None,
    seed: int | None = None,
    device: str | torch.device | None = None,
    **settings: Any,
) -> FittedModel:
    """Returns a model that has learnt from interactions, to recommend in their own ids.

    Args:
        train: what to learn from; its weights count as the model's loss says, ``train.binarize()`` sets them to 1.
        model: the name of a recipe, see ``recoder.recipes``; or a model, which is then changed in place.
        valid: users to validate with, as from ``interactions.split``: metrics after each epoch.
        metrics: of validation. None: ``Recall(20)``, ``Recall(50)`` and ``NDCG(100)``.
        seed: of everything that is drawn; None: drawn itself, and kept in the model's file.
        device: as in ``Recoder``.
        settings: other arguments of the model's class, of ``Recoder`` or of ``Recoder.train`` than the recipe has, such
            as ``num_epochs=20``, ``hidden_layers=[400]`` or ``early_stopping=EarlyStopping("NDCG@100")``.

    Raises:
        ConfigError: if there is no such recipe or setting, or one is out of range.
        DataTypeError: if ``train`` or ``valid`` is something else.
        ShapeError: if ``valid`` is over other items than ``train``.
        DataError, DivergedError, NotEnoughMemoryError and others: as ``Recoder.train``.
    """
    if not isinstance(train, Interactions):
        raise DataTypeError(
            f"fit takes recoder.Interactions, not {type(train).__name__}; make them first, as in "
            'Interactions.from_frame(frame, user="user_id", item="item_id")'
        )
    chosen = recipe(model) if isinstance(model, str) else Recipe.of(model)
    chosen = chosen.but(**settings)
    validation: dict[str, Any] = {}
    if valid is None and metrics is not None:
        raise ConfigError("metrics are of validation users, but valid is None; pass some, or leave metrics out")
    if valid is not None:
        _check_valid(valid, train)
        validation = {"metrics": DEFAULT_METRICS if metrics is None else metrics, "eval_freq": 1}
        validation = {name: value for name, value in validation.items() if name not in settings}
    recoder = chosen.fit(
        RecommendationDataset(train.matrix),
        None if valid is None else valid.dataset,
        seed=seed,
        device=device,
        **validation,
    )
    about = About(
        recipe=model if isinstance(model, str) else None,
        model=_storable(chosen.model),
        recoder=_storable(chosen.recoder),
        train=_storable(chosen.train),
        library=train.library,
        num_users=train.num_users,
        num_interactions=int(train.matrix.nnz),
    )
    return FittedModel(recoder, train, about)


def _check_valid(valid: HeldOut, train: Interactions) -> None:
    if not isinstance(valid, HeldOut):
        raise DataTypeError(
            f"valid is a {type(valid).__name__}; pass held-out users, as in "
            'train, valid, test = interactions.split("strong", seed=7)'
        )
    if valid.item_ids != train.item_ids:
        raise ShapeError("valid is over other items than train; take both from one split")


def _storable(arguments: Any) -> dict[str, Any]:
    """Returns the arguments that a file can hold: modules, metrics and callbacks cannot."""
    return {name: value for name, value in arguments.items() if is_json(value)}
