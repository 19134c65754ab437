"""Learning from what came since, and dropping users."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch

from recoder._random import derive_seed
from recoder.api.about import About, facts_of
from recoder.api.files import completing
from recoder.data import Interactions, RecommendationDataset
from recoder.data.mapped import item_counts
from recoder.errors import ConfigError, DataTypeError, EmptyDataError, NotInitializedError
from recoder.losses import make_loss
from recoder.model import Recoder
from recoder.nn import EASE, MatrixFactorization
from recoder.recipes import RECIPES, Recipe
from recoder.training.alternating import AlternatingLeastSquares

__all__ = ["check_names_users", "forgotten", "updated"]

_log = logging.getLogger("recoder.api")

_LR_SHARE = 0.3
"""Of the learning rate that the model was trained with; see docs/experiments.md."""

_EPOCHS_SHARE, _MOST_EPOCHS = 0.07, 1.5
"""Of the epochs that it was trained for, and how many at most."""

_FEWEST_STEPS, _STEPS_SHARE = 12, 0.1
"""Where that is little, as for ELSA's hundred large batches: so many steps, but no more than this share of all."""

_STEPS_OF_NEW = 5
"""Of conjugate gradients."""

_SHARE_OF_GROWN = 0.1
"""Of its interactions, that an item's new ones are if it is to change."""

_OF_THE_WHOLE_RUN = ("lr_milestones",)
_OF_VALIDATION = ("val_dataset", "eval_", "metrics", "early_stopping")
_OF_ITS_FILES = ("model_checkpoint_prefix", "checkpoint_freq")
"""What the names of arguments begin with that only the training that was has: its checkpoints are not written over."""


def updated(
    recoder: Recoder,
    known: Interactions,
    new: Interactions,
    about: About,
    *,
    has_histories: bool,
    settings: dict[str, Any],
) -> tuple[Recoder, Interactions]:
    """Returns another ``Recoder`` that knows the new interactions too, and all interactions.

    Args:
        recoder: what was trained; it is not changed.
        known: what it was trained on.
        new: what came since.
        about: how it was trained.
        has_histories: whether ``known`` holds interactions.
        settings: arguments of ``Recoder.train`` to use instead.

    Raises:
        NotInitializedError, DataTypeError, ConfigError and others: as ``FittedModel.partial_fit``.
    """
    if not isinstance(new, Interactions):
        raise DataTypeError(
            f"partial_fit takes recoder.Interactions, not {type(new).__name__}; make them with Interactions.from_frame"
        )
    if not has_histories:
        raise NotInitializedError(
            "this model's file holds no histories, and learning from new interactions alone would overwrite what it "
            "knows; save it with interactions=True, or fit a new model on all interactions"
        )
    validating = [name for name in settings if name.startswith(_OF_VALIDATION)]
    if validating:
        raise ConfigError(
            f"partial_fit validates nobody, so {', '.join(validating)} would have no use; leave it out, and call "
            "evaluate afterwards"
        )
    merged = known.merge(new)
    dataset = RecommendationDataset(merged.matrix)
    if recoder.model.is_solved:
        if settings:
            raise ConfigError(
                f"a {type(recoder.model).__name__} is computed, not trained by steps; leave out {', '.join(settings)}"
            )
        _log.info("%s: computed anew from all %d interactions", type(recoder.model).__name__, merged.matrix.nnz)
        made = recoder.untrained(merged.num_items, merged.num_users)
        made.train(dataset)
        return made, merged
    kept = {k: value for k, value in about.train.items() if not k.startswith(_OF_ITS_FILES + _OF_VALIDATION)}
    by = RECIPES.get(about.recipe or "", Recipe.of(recoder.model))
    as_before = replace(by, make_model=lambda: recoder.model, model={}, recoder={}, train=kept).but(**settings)
    if as_before.recoder:
        raise ConfigError(
            f"{', '.join(as_before.recoder)}: the model was made with it, and partial_fit takes arguments of "
            "Recoder.train; fit a new model to change it"
        )
    if recoder.loss is None:
        raise ConfigError(
            "the model was trained with a loss module, which its file does not hold; read the file with "
            "Recoder(model, loss=...) and init_from_model_file, and train that further, or fit a new model"
        )
    arguments = as_before.train
    by_least_squares = recoder.optimizer_type == "als" and not settings
    larger = recoder.extended(dataset, from_similar=not by_least_squares)
    if by_least_squares:
        _solve_again(larger, dataset, float(arguments.get("weight_decay", 0.0)), known, new)
        return larger, merged
    step = {"lr": _LR_SHARE * arguments.get("lr", 1e-3), **settings}
    if "num_epochs" not in settings:
        num_epochs = about.num_epochs or arguments.get("num_epochs", 1)
        steps_of_one = arguments.get("iters_per_epoch") or as_before.steps_per_epoch(len(dataset))
        at_least = min(_FEWEST_STEPS, int(_STEPS_SHARE * num_epochs * steps_of_one))
        steps = max(1, at_least, round(min(_EPOCHS_SHARE * num_epochs, _MOST_EPOCHS) * steps_of_one))
        step = {"num_epochs": 1, "iters_per_epoch": steps, **step}
    step |= {name: None for name in _OF_THE_WHOLE_RUN if name in arguments and name not in settings}
    batch_size, of_sampling = as_before.batch_size(len(dataset)), arguments.get("num_sampling_users", 0)
    if of_sampling and arguments.get("batch_size") is None:  # which follows the number of users
        step["num_sampling_users"] = max(batch_size, of_sampling - of_sampling % batch_size)
    # others are visited than in the training and in the update before
    larger.seed = derive_seed(recoder.seed, "partial_fit", merged.matrix.nnz)
    now = replace(about, **facts_of(merged.matrix), metrics=[])
    with larger.files_with(completing(larger, merged, now, item_counts(merged.matrix))):
        as_before.train_with(larger, dataset, **step)
    return larger, merged


def _solve_again(
    recoder: Recoder, dataset: RecommendationDataset, l2: float, known: Interactions, new: Interactions
) -> None:
    """Solves for users and items that are new or had nothing yet, and goes a step for others that learn something.

    A known item that nobody had, of users who have nothing else, stays at zero: it was solved for.
    """
    given = recoder.loss
    loss = make_loss(given, recoder.loss_params) if isinstance(given, str) else given
    assert loss is not None  # it was trained with one
    recoder.model.learns_by(loss, l2, dataset.interactions_matrix.nnz / len(dataset))
    model = cast(MatrixFactorization, recoder.model)
    factors_ND = model.item_factors()[0].detach()
    drawn = factors_ND[known.num_items :].clone()
    # what was drawn for the new would count in solving for the others
    factors_ND[known.num_items :] = 0
    model.users.weight.data[known.num_users :] = 0
    sweeps = AlternatingLeastSquares.of(model, loss, l2, dataset)
    active, more_N = np.flatnonzero(np.diff(new.matrix.indptr)), item_counts(new.matrix)
    users = known.user_ids.indices(new.user_ids.ids.take(pa.array(active)), "drop")
    cols = known.item_ids.places(new.item_ids.ids, "drop")
    is_active = (cols >= 0) & (more_N > 0)
    items, more = cols[is_active], more_N[is_active]
    had_U, had_N = np.diff(known.matrix.indptr)[users], item_counts(known.matrix)[items]
    first_users = np.concatenate([users[had_U == 0], np.arange(known.num_users, len(dataset))])
    first_items = np.concatenate([items[had_N == 0], np.arange(known.num_items, dataset.num_items)])
    known_users, grown = users[had_U > 0], items[(had_N > 0) & (more >= _SHARE_OF_GROWN * had_N)]
    nothing = np.empty(0, np.int64)
    sweeps.solve_again(first_users, nothing, steps=_STEPS_OF_NEW)  # by the items that others have too
    sweeps.solve_again(known_users, grown, steps=1)
    # items whose users have no others have nothing to be solved by: they begin as they were drawn
    is_lost_U = ~(model.users.weight.detach() != 0).any(dim=1).cpu().numpy()
    counts_N, of_lost_N = (item_counts(dataset.interactions_matrix, rows) for rows in (None, np.flatnonzero(is_lost_U)))
    isolated = np.flatnonzero(((counts_N > 0) & (of_lost_N == counts_N))[known.num_items :])
    sweeps.put_items(known.num_items + isolated, drawn[torch.from_numpy(isolated).to(drawn.device)])
    sweeps.solve_again(first_users if len(isolated) else nothing, first_items, steps=_STEPS_OF_NEW)
    sweeps.solve_again(first_users, nothing, steps=_STEPS_OF_NEW)  # by items that are new like them
    if not model.folds_in_users:
        sweeps.solve_again(known_users, nothing, steps=1)
    sweeps.turn_for_new_users()


def check_names_users(recoder: Recoder, known: Interactions) -> None:
    """Checks that there are users to look up.

    Raises:
        NotInitializedError: if there are none.
    """
    if known.num_users:
        return
    keeps_interactions = isinstance(recoder.model, EASE) and recoder.model.keeps_interactions
    held = "still holds their interactions, of which its solution is made" if keeps_interactions else "reflects them"
    raise NotInitializedError(
        f"this model's file names no users, so none can be dropped from it; the {type(recoder.model).__name__} {held}: "
        "forget them in a model that was saved with interactions=True, or fit a new one on the interactions that are "
        "left"
    )


def forgotten(
    recoder: Recoder, known: Interactions, rows: npt.NDArray[np.int64], *, has_histories: bool
) -> tuple[Recoder, Interactions, str]:
    """Returns another ``Recoder`` and the interactions without these users, and what trained weights keep.

    Raises:
        EmptyDataError: if nobody would be left.
        ConfigError: as ``Recoder.without_users``.
    """
    left = np.setdiff1d(np.arange(known.num_users), rows)
    if not len(left):
        raise EmptyDataError(
            f"these are all {known.num_users} users, so nothing would be left; delete the model instead"
        )
    others = known.select_users(left)
    name = type(recoder.model).__name__
    if isinstance(recoder.model, EASE) and not has_histories:
        raise NotInitializedError(
            "an EASE without these users is computed from the interactions of the others, and this model's file holds "
            "none; save it with interactions=True, or fit a new one"
        )
    if recoder.model.is_solved and has_histories:
        made = recoder.untrained(others.num_items, others.num_users)
        made.train(RecommendationDataset(others.matrix))
        said = f"the weights of the {name} were computed anew from the others: they keep nothing of them"
    else:
        made = recoder.without_users(rows)
        said = (
            f"the weights of the {name} were trained with their interactions too and still reflect them; to be rid of "
            "that, fit a new model on the interactions that are left"
        )
    dropped = "ids, histories and rows of factors" if has_histories else "ids and rows of factors"
    message = f"dropped {len(rows)} of {known.num_users} users: their {dropped} are gone; {said}"
    _log.info("%s", message)
    return made, others, message
