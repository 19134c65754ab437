"""``fit``: a recipe or a model, trained on interactions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from recoder.api.about import About, epochs_of, facts_of
from recoder.api.files import completing
from recoder.api.fitted import FittedModel
from recoder.api.judging import DEFAULT_METRICS
from recoder.data import HeldOut, Interactions, RecommendationDataset
from recoder.data.splits.in_training import validation_rows
from recoder.data.splits.known_targets import without_known_targets
from recoder.errors import ConfigError, DataTypeError
from recoder.metrics import Metric
from recoder.nn import FactorizationModel
from recoder.recipes import Recipe, recipe
from recoder.training.model_file import is_json

__all__ = ["fit", "learn", "untrained"]


def fit(
    train: Interactions,
    model: str | Recipe | FactorizationModel = "autoencoder",
    *,
    valid: HeldOut | None = None,
    metrics: Sequence[Metric | str] | None = None,
    seed: int | None = None,
    device: str | torch.device | None = None,
    **settings: Any,
) -> FittedModel:
    """Returns a model that has learnt from interactions, to recommend in their own ids.

    Args:
        train: what to learn from; its weights count as the model's loss says, ``train.binarize()`` sets them to 1.
        model: the name of a recipe, see ``recoder.recipes``; a recipe, such as that of a ``TuningResult``; or a model,
            which is then changed in place.
        valid: users to validate with, as from ``interactions.split``: metrics after each epoch, by what their histories
            do not hold. Those without a history are ranked by the model's own scores.
        metrics: of validation, or their names, such as ``"NDCG@100"``. None: ``Recall(20)``, ``Recall(50)`` and
            ``NDCG(100)``.
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
    chosen, fitted = untrained(train, model, seed=seed, device=device, **settings)
    learn(chosen, fitted, valid, metrics)
    return fitted


def untrained(
    train: Interactions,
    model: str | Recipe | FactorizationModel,
    *,
    seed: int | None = None,
    device: str | torch.device | None = None,
    **settings: Any,
) -> tuple[Recipe, FittedModel]:
    """Returns the recipe that was chosen, and what ``fit`` returns but for the training, which ``learn`` does.

    Args:
        train: as in ``fit``, like all the others.
        model: of a recipe or of your own.
        seed: of what is drawn.
        device: where to compute.
        settings: other arguments.

    Raises:
        ConfigError, DataTypeError: as ``fit``.
    """
    if not isinstance(train, Interactions):
        raise DataTypeError(
            f"fit takes recoder.Interactions, not {type(train).__name__}; make them first, as in "
            'Interactions.from_frame(frame, user="user_id", item="item_id"), or Interactions.from_matrix(matrix); of a '
            "split pass train"
        )
    if settings.get("parallel") is not None:
        raise ConfigError(
            f"parallel is {settings['parallel']!r}, but what fit returns answers in one process; train a "
            "recoder.model.Recoder by several, and load its file"
        )
    if not isinstance(model, Recipe):
        model = recipe(model) if isinstance(model, str) else Recipe.of(model)
    chosen = model.but(**settings)
    recoder = chosen.new_recoder(seed=seed, device=device)
    about = About(
        recipe=chosen.name,
        model=_storable(chosen.model),
        recoder=_storable(chosen.recoder),
        train=_storable(chosen.train),
        library=train.library,
        **facts_of(train.matrix),
    )
    return chosen, FittedModel(recoder, train, about)


def learn(
    chosen: Recipe, fitted: FittedModel, valid: HeldOut | None, metrics: Sequence[Metric | str] | None, **more: Any
) -> None:
    """Trains a model on its interactions, from where it stands.

    Args:
        chosen: by which recipe.
        fitted: what ``untrained`` returned.
        valid: as in ``fit``, like the following.
        metrics: of validation.
        more: further arguments of ``Recoder.train``.

    Raises:
        ConfigError, DataTypeError, ShapeError, DataError, DivergedError, NotEnoughMemoryError and others: as ``fit``.
    """
    validation: dict[str, Any] = {}
    of_valid: RecommendationDataset | None = None
    if valid is None and metrics is not None:
        raise ConfigError("metrics are of validation users, but valid is None; pass some, or leave metrics out")
    if valid is not None:
        judged = without_known_targets(valid)
        of_valid = validation_rows(judged, fitted.interactions, folds_in=fitted.recoder.model.folds_in_users)
        validation = {"metrics": DEFAULT_METRICS, "eval_freq": 1}
        validation = {name: value for name, value in validation.items() if name not in chosen.train}
        if metrics is not None:
            validation["metrics"] = metrics
    complete = completing(fitted.recoder, fitted.interactions, fitted.about, fitted.item_counts)
    with fitted.recoder.files_with(complete):
        chosen.train_with(
            fitted.recoder,
            RecommendationDataset(fitted.interactions.matrix),
            of_valid,
            **validation,
            **more,
        )
    fitted.about.num_epochs = epochs_of(fitted.history)


def _storable(arguments: Any) -> dict[str, Any]:
    """Returns the arguments that a file can hold: modules, metrics and callbacks cannot."""
    plain = {name: _plain(value) for name, value in arguments.items()}
    return {name: value for name, value in plain.items() if is_json(value)}


def _plain(value: Any) -> Any:
    """Returns numbers of numpy and tuples, which a file cannot hold, as Python's numbers and lists."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, list | tuple) else value
