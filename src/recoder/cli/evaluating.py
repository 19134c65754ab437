"""``recoder evaluate``: how good a model is, on users that are in files or that its own split held out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse

from recoder.api.asking import from_histories
from recoder.api.fitted import FittedModel
from recoder.cli.answers import as_trained, check_knows_users, id_types, load_model, with_what_weighs
from recoder.cli.config import changed
from recoder.cli.options import check_unused
from recoder.cli.output import tell
from recoder.cli.reading import resolved, to_train_on
from recoder.cli.splitting import make_split
from recoder.cli.training import config_in
from recoder.data import HeldOut, Interactions, RecommendationDataset
from recoder.data.splits.known_targets import not_stored_in
from recoder.errors import ConfigError, DataTypeError, EmptyDataError
from recoder.metrics.names import named_metric

__all__ = ["evaluate_model", "model_and_users"]


def evaluate_model(
    path: Path, *, history: str | None, target: str | None, metrics: list[str], columns: dict[str, Any]
) -> dict[str, Any]:
    """Returns the metrics of a model, as JSON values.

    Args:
        path: of the model.
        history: as in ``model_and_users``, like the following.
        target: a file.
        metrics: their names.
        columns: of the files.

    Raises:
        ConfigError, RecoderError, OSError: as ``model_and_users``, and as evaluating.
    """
    chosen = [named_metric(name) for name in metrics]
    fitted, test = model_and_users(path, history=history, target=target, columns=columns)
    fitted.evaluate(test, chosen)
    return {"model": str(path), **fitted.about.metrics[-1]}


def model_and_users(
    path: Path, *, history: str | None, target: str | None, columns: dict[str, Any]
) -> tuple[FittedModel, HeldOut | Interactions]:
    """Returns a model, and users to judge it by.

    Args:
        path: of the model.
        history: a file of what users who are judged by interacted with; None: users in training, whose histories are
            in the model's file.
        target: a file of what is to be found; None: of the users that the model's own configuration held out.
        columns: of the files, as ``changed`` takes them.

    Raises:
        ConfigError: if there is a history but no target, or the model's configuration held nobody out, or holds out
            others than in training since the data has changed.
        DataTypeError: if users are text in one file and whole numbers in the other.
        RecoderError, OSError: as reading.
    """
    fitted = load_model(path)
    if target is None:
        if history is not None:
            raise ConfigError("a history alone says not what is to be found; give --target too")
        check_unused(columns, "give --target too")
        return fitted, _own_test(path, fitted)
    if history is None:
        check_knows_users(path, fitted)
        return fitted, _of_known_users(_read(fitted, target, columns, of_known_users=True), fitted)
    known, wanted = (_read(fitted, file, columns, of_known_users=False) for file in (history, target))
    return fitted, _held_out(known, wanted, fitted)


def _own_test(path: Path, fitted: FittedModel) -> HeldOut:
    config = config_in(fitted.about.more)
    parts = None if config is None else make_split(to_train_on(config.data), config.split)
    if config is None or parts is None or parts.test is None:
        raise ConfigError(f"{path} was trained without users to test with; give --history and --target, or --target")
    if not _was_trained_on(fitted, parts.train):
        about, train = fitted.about, parts.train
        raise ConfigError(
            f"{path} was trained on {about.num_users} users, {len(fitted.item_ids)} items and {about.num_interactions} "
            f"interactions, and the same split of {config.data.path} now gives {train.num_users}, {train.num_items} "
            f"and {train.matrix.nnz}, or others: the data has changed, and the model may have learnt from whom it "
            "would be tested with; give --history and --target, or train anew"
        )
    return parts.test


def _was_trained_on(fitted: FittedModel, train: Interactions) -> bool:
    """Returns whether a model may have learnt from these interactions, as far as its file tells."""
    about, users = fitted.about, fitted.interactions.user_ids
    return (
        fitted.item_ids == train.item_ids
        and (about.num_users, about.num_interactions) == (train.num_users, train.matrix.nnz)
        and (not len(users) or users == train.user_ids)
    )


def _read(fitted: FittedModel, file: str, columns: dict[str, Any], *, of_known_users: bool) -> Interactions:
    data = resolved(changed(as_trained(fitted), {**columns, "path": file, "time": "", "title": ""}))
    types = id_types(fitted, of_known_users=of_known_users)
    return to_train_on(with_what_weighs(data, fitted), id_types=types)


def _of_known_users(wanted: Interactions, fitted: FittedModel) -> Interactions:
    is_known = [user in fitted.interactions.user_ids for user in wanted.user_ids.ids.to_pylist()]
    _say_dropped(len(is_known) - sum(is_known), len(is_known), "users to judge by are not in the model")
    if not any(is_known):
        raise EmptyDataError("no user to judge by is in the model; give histories of theirs with --history")
    return wanted.select_users(np.flatnonzero(is_known))


def _held_out(history: Interactions, wanted: Interactions, fitted: FittedModel) -> HeldOut:
    """Returns the users who have both a history and a target, over the model's items."""
    if history.user_ids.ids.type != wanted.user_ids.ids.type:
        raise DataTypeError(
            "users are whole numbers in one of the files and text in the other; read both as text: --text-ids"
        )
    users = [user for user in history.user_ids.ids.to_pylist() if user in wanted.user_ids]
    _say_dropped(wanted.num_users - len(users), wanted.num_users, "users to judge by have no history")
    if not users:
        raise EmptyDataError("no user of the history has a target: the files hold different users")
    known, asked = (
        _over_items_of(fitted, part.select_users(part.user_ids.indices(users))) for part in (history, wanted)
    )
    target = not_stored_in(known, asked)
    _say_dropped(asked.nnz - target.nnz, asked.nnz, "interactions to judge by are in the users' histories")
    user_ids = history.select_users(history.user_ids.indices(users)).user_ids
    return HeldOut(RecommendationDataset(known, target), user_ids, fitted.item_ids)


def _over_items_of(fitted: FittedModel, part: Interactions) -> sparse.csr_matrix:
    known = from_histories(part, fitted.item_ids, unknown="drop").users.interactions_matrix
    number = part.matrix.nnz - known.nnz
    _say_dropped(number, part.matrix.nnz, "interactions are with items that the model does not know")
    return known


def _say_dropped(number: int, total: int, why: str) -> None:
    if number:
        tell(f"{number:,} of {total:,} {why}; they are left out")
