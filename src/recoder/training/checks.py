"""Does the data fit the model and the arguments? Asked once, before training starts."""

from __future__ import annotations

import logging

from torch import nn

from recoder.data.datasets import RecommendationDataset
from recoder.data.interactions import Interactions
from recoder.errors import ConfigError, DataTypeError, EmptyDataError, ShapeError, UnknownIdError
from recoder.losses import LogisticLoss, MultinomialNLLLoss, check_targets
from recoder.nn.base import FactorizationModel
from recoder.nn.elsa import ELSA
from recoder.nn.matrix_factorization import MatrixFactorization
from recoder.nn.popularity import Popularity
from recoder.recommender.scoring import strangers
from recoder.training.alternating import check_alternating
from recoder.training.config import TrainConfig

__all__ = [
    "check_data",
    "check_interactions",
    "check_known_users",
    "check_model",
    "check_sizes",
    "warn_of_large_values",
    "warn_of_unused_targets",
]

_log = logging.getLogger("recoder.training")

_LARGE_VALUE = 100


def check_data(
    train: RecommendationDataset,
    validation: RecommendationDataset | None,
    config: TrainConfig,
    loss: nn.Module,
    *,
    uses_loss: bool = True,
) -> None:
    """Checks the data sets of a run against its arguments and its loss, if the model learns by that.

    Raises:
        DataTypeError: if one is no ``RecommendationDataset``.
        EmptyDataError: if there is nothing to learn from, or to evaluate against.
        DataError: if the loss is not defined for the values.
        ConfigError: if there is something to evaluate but nothing to evaluate on.
    """
    for name, dataset in (("train_dataset", train), ("val_dataset", validation)):
        is_absent = dataset is None and name == "val_dataset"
        if not is_absent and not isinstance(dataset, RecommendationDataset):
            raise DataTypeError(
                f"{name} is a {type(dataset).__name__}; wrap the matrix in a recoder.data.RecommendationDataset"
            )
    target = train.target_interactions_matrix
    for name, matrix in (("interactions", train.interactions_matrix), ("target interactions", target)):
        if matrix is not None and matrix.nnz == 0:
            raise EmptyDataError(f"train_dataset has {len(train)} users but no {name}; there is nothing to learn")
    if config.logq_correction and not isinstance(loss, LogisticLoss | MultinomialNLLLoss):
        raise ConfigError(
            f"logq_correction is for scores that are log-odds or logarithms of shares, not for {type(loss).__name__}; "
            "use the loss 'logistic' or 'logloss' without loss_params, or logq_correction=False"
        )
    if config.early_stopping is not None and validation is None:
        raise ConfigError("early_stopping needs validation users to look at; pass val_dataset")
    if config.eval_freq:
        _check_can_be_evaluated(config, validation)
    if not uses_loss:
        return
    judged = train.target_interactions_matrix
    check_targets(loss, (train.interactions_matrix if judged is None else judged).data, "train_dataset")
    if validation is not None:
        target = validation.target_interactions_matrix
        if judged is None or target is None:  # or else the targets alone are judged by
            check_targets(loss, validation.interactions_matrix.data, "val_dataset")
        if target is not None:
            check_targets(loss, target.data, "val_dataset")


def warn_of_large_values(train: RecommendationDataset, model: FactorizationModel) -> None:
    """Logs a warning where values are so large that a few interactions outweigh all the others."""
    largest = float(train.interactions_matrix.data.max(initial=0.0))
    if largest > _LARGE_VALUE and not isinstance(model, Popularity):  # which counts users
        _log.warning(
            "values of interactions reach %g: each weighs as much as its value, so the largest will outweigh all "
            "others; set them to 1 (Interactions.binarize) or take logarithms",
            largest,
        )


def warn_of_unused_targets(train: RecommendationDataset, model: FactorizationModel) -> None:
    """Logs a warning where there are targets to train with, and the model has no use for them."""
    if model.is_solved and train.target_interactions_matrix is not None:
        _log.warning(
            "%s learns which interactions go together: the targets of train_dataset are not looked at",
            type(model).__name__,
        )


def check_model(model: FactorizationModel, config: TrainConfig, loss: nn.Module, optimizer_type: str) -> None:
    """Checks that the model can be trained as the arguments say.

    Raises:
        ConfigError: if it cannot.
    """
    if config.logq_correction and model.brings_loss:
        raise ConfigError(
            f"logq_correction is of scores, and {type(model).__name__} brings a loss of its own; leave it out"
        )
    if config.popularity_bias and model.brings_loss:
        raise ConfigError(
            f"popularity_bias goes by the loss, and {type(model).__name__} brings one of its own; leave it out"
        )
    if config.negative_sampling and isinstance(model, ELSA):
        raise ConfigError(
            "ELSA's loss is over all items, and costs no more so; leave negative_sampling out, which would leave the "
            "scores of all others free"
        )
    if optimizer_type == "als":
        check_alternating(model, loss)
        if config.popularity_bias:
            raise ConfigError("optimizer_type='als' keeps the items' biases at zero; leave popularity_bias out")


def check_sizes(
    train: RecommendationDataset,
    validation: RecommendationDataset | None,
    model: FactorizationModel,
    *,
    num_items: int,
    num_users: int,
    user_based: bool,
    item_based: bool,
) -> None:
    """Checks that no data set has items or users beyond the ``num_items`` and ``num_users`` of the model.

    Args:
        train: compared where the model is said to be based on items and users, or looks users up.
        validation: compared in its items, and in its users where the model looks them up.
        model: tells whether it looks users up.
        num_items: size of the model's catalogue.
        num_users: users of the model.
        user_based: what the ``Recoder`` was told.
        item_based: what the ``Recoder`` was told.

    Raises:
        UnknownIdError: if one has.
    """
    looks_up = not model.folds_in_users
    has_user_rows = looks_up or isinstance(model, MatrixFactorization)  # which may fold in others than its own
    has_item_rows = model.is_factorized or model.is_solved
    if item_based or has_item_rows:
        _compare("train_dataset", "item", train.num_items, num_items, is_bound=has_item_rows)
    if user_based or has_user_rows:
        _compare("train_dataset", "user", train.num_users, num_users, is_bound=has_user_rows)
    if validation is not None:
        check_known_users("val_dataset", validation, model)
        _compare("val_dataset", "item", validation.num_items, num_items, is_bound=True)
        if looks_up:
            _compare("val_dataset", "user", validation.num_users, num_users, is_bound=True)


def check_known_users(name: str, dataset: RecommendationDataset, model: FactorizationModel) -> None:
    """Checks that a model that looks users up by their row is not asked for others than it was trained on.

    Raises:
        UnknownIdError: if it is.
    """
    if not model.folds_in_users and not dataset.are_training_users:
        raise UnknownIdError(strangers(f"the users of {name}", model))


def check_interactions(
    interactions: Interactions, model: FactorizationModel, *, num_items: int, num_users: int | None
) -> None:
    """Checks that ids and titles are those of the model's items, and for one that looks users up of its users.

    Raises:
        ShapeError: if they are not.
    """
    sizes = [("items", interactions.num_items, num_items)]
    if not model.folds_in_users:
        sizes.append(("users", interactions.num_users, num_users or 0))
    for kind, there, known in sizes:
        if there != known:
            raise ShapeError(
                f"the interactions have {there} {kind}, the model {known}; pass those that it was trained on"
            )


def _check_can_be_evaluated(config: TrainConfig, validation: RecommendationDataset | None) -> None:
    if validation is None:
        raise ConfigError(f"eval_freq is {config.eval_freq} but there is no val_dataset; pass the validation users")
    target = validation.target_interactions_matrix
    if target is None:
        raise ConfigError(
            "metrics need targets to find, but val_dataset has none; "
            "build it as RecommendationDataset(interactions_matrix, target_interactions_matrix)"
        )
    if target.nnz == 0:
        raise EmptyDataError(
            f"none of the {len(validation)} users of val_dataset has a target to find; hold out some interactions"
        )


def _compare(name: str, kind: str, there: int, known: int, *, is_bound: bool) -> None:
    if there > known:
        if not known:
            raise UnknownIdError(
                f"the model has no {kind}s: its file was saved without their rows of factors, so it cannot be trained "
                "further; save it with training_state=True or interactions=True, or train a new one"
            )
        # a flag helps only a model that has no rows of its own for them
        otherwise = "" if is_bound else f", or pass {kind}_based=False if the model does not depend on them"
        raise UnknownIdError(
            f"{name} has {there} {kind}s, the model {known}: {kind} id {there - 1} is outside it; "
            f"use the {kind} ids that the model was made with, or make it with num_{kind}s={there}{otherwise}"
        )
