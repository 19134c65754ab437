"""A fitted model in a file, and back."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch

from recoder import __version__
from recoder._checks import path_text
from recoder._files import check_writable
from recoder.api.about import About, epochs_of, facts_of
from recoder.data import Interactions
from recoder.data.interactions import of_nobody
from recoder.errors import ConfigError, FileFormatError, NotInitializedError
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
from recoder.training.devices import checked_precision, choose_device
from recoder.training.growth import USER_ROWS
from recoder.training.model_file import ModelFile, check_json, write_model_file
from recoder.training.restore import read_model_file

if TYPE_CHECKING:
    from recoder.api.fitted import FittedModel

__all__ = ["completing", "load", "save"]

_log = logging.getLogger("recoder.api")

_MAKERS: Mapping[str, Callable[..., FactorizationModel]] = {
    made.__name__: made for made in (EASE, ELSA, DynamicAutoencoder, MatrixFactorization, MultVAE, Popularity, RecVAE)
}
_NEEDED: Mapping[str, Mapping[str, Any]] = {"MatrixFactorization": {"embedding_size": 1}}
"""Arguments that a constructor cannot do without; a file brings the true ones."""


def save(fitted: FittedModel, path: str | os.PathLike[str], *, interactions: bool, training_state: bool) -> str:
    """Writes a file and returns its path; see ``FittedModel.save``."""
    path = path_text("path", path)
    check_writable(path)
    if interactions and not fitted.has_histories:
        raise NotInitializedError(
            "interactions=True, but this model was loaded from a file without histories: there are none to keep"
        )
    complete = completing(fitted.recoder, fitted.interactions, fitted.about, fitted.item_counts)
    content = fitted.recoder.file_content(interactions=fitted.interactions, histories=interactions)
    complete(content)
    if interactions:
        content.interactions = fitted.interactions
    elif isinstance(fitted.recoder.model, EASE) and fitted.recoder.model.keeps_interactions:
        _log.info(
            "%s holds the interactions of its %d users, though not their ids: a closed form of fewer users than items "
            "computes with them; think of privacy before you pass the file on",
            path,
            fitted.recoder.num_users,
        )
    if not training_state:
        content.optimizer = {}
        if not interactions:
            _leave_out_users(fitted.recoder.model, content)
    write_model_file(path, content, version=__version__)
    return path


def _leave_out_users(model: FactorizationModel, content: ModelFile) -> None:
    """Drops the rows of factors of training users, which tell what they like, where answers need none of them."""
    # a class of one's own may have more of users
    if type(model) is MatrixFactorization and model.folds_in_users:
        content.num_users = 0
        if content.best_weights:  # of a run that was interrupted
            content.early_stopping, content.best_weights = None, {}
        content.weights[USER_ROWS] = content.weights[USER_ROWS][:0]


def completing(
    recoder: Recoder, interactions: Interactions, about: About, item_counts: npt.NDArray[np.int64]
) -> Callable[[ModelFile], None]:
    """Returns what adds to the content of a file all that ``load`` needs to answer, without histories.

    Args:
        recoder: what is trained.
        interactions: what it learns from.
        about: what is known of it.
        item_counts: int64 ``[N]``: users of each item.

    Raises:
        ConfigError: if ``about.more`` cannot be stored.
    """
    check_json("about.more", about.more)
    # without a history nobody can be looked up
    kept = of_nobody(interactions) if recoder.model.folds_in_users else interactions

    def complete(content: ModelFile) -> None:
        num_epochs = about.num_epochs or epochs_of(recoder.history)
        content.interactions, content.about = kept, replace(about, num_epochs=num_epochs).to_json()
        content.item_counts = torch.from_numpy(item_counts)

    return complete


def load(
    path: str | os.PathLike[str],
    *,
    model: FactorizationModel | None = None,
    loss: torch.nn.Module | None = None,
    device: str | torch.device | None = None,
    library: str | None = None,
) -> FittedModel:
    """Returns the model of a file that ``FittedModel.save``, or ``Recoder.save_state`` with interactions, wrote.

    Checkpoints that are written while ``fit`` or ``partial_fit`` trains are such files too, without histories.

    Args:
        path: the file.
        model: for a model of a class of your own: an object of that class.
        loss: for one that was trained with a module as its loss: that module, to train it further.
        device: where to score, as in ``Recoder``.
        library: of data frames to answer in, such as ``"pandas"``. None: what the training data came in.

    Raises:
        FileNotFoundError: if there is no such file.
        FileFormatError: if it is no model file, is damaged or of a newer format, or holds no ids.
        UnsafeFileError: if it asks for code to be run; nothing of it is run.
        ConfigError: if it holds a model of another class than the library's and ``model`` is None, or ``library`` is
            unknown.
    """
    from recoder.api.fitted import FittedModel  # which saves itself by this module

    path = path_text("path", path)
    place = choose_device(False, device)
    content = read_model_file(path)
    if content.interactions is None:
        raise FileFormatError(
            f"{path} holds no ids, so answers could not name items; load it with Recoder.init_from_model_file, or "
            "save it again with interactions=..."
        )
    if model is None and content.model_class not in _MAKERS:
        raise ConfigError(
            f"{path} holds a {content.model_class or 'model of a class it does not name'}, which is none of the "
            "library's; pass model=, an object of that class"
        )
    with _said_by(path):
        about = _of_recoder(content) if content.about is None else About.from_json(content.about)
        made = _new_model(content, about) if model is None else model
        precision = checked_precision(about.recoder.get("precision", "fp32"))
    own_loss = loss if content.loss is None else None
    recoder = Recoder(made, loss="mse" if own_loss is None else own_loss, device=place, precision=precision)
    recoder.take_over(path, content)
    interactions = _of_library(content.interactions, library or about.library)
    about.library = interactions.library
    item_counts = None if content.with_histories else _counts(path, content, interactions)
    return FittedModel(recoder, interactions, about, item_counts=item_counts)


def _of_recoder(content: ModelFile) -> About:
    """Returns what a file that ``Recoder.save_state`` wrote tells of the training."""
    of_histories: dict[str, Any] = {}
    if content.interactions is not None and content.with_histories:
        of_histories = facts_of(content.interactions.matrix)
    num_epochs = (content.early_stopping or {}).get("epoch") or len(content.history)
    facts = {**of_histories, "num_users": content.num_users or 0}
    return About(train=dict(content.train or {}), num_epochs=num_epochs, **facts)


@contextlib.contextmanager
def _said_by(path: str) -> Iterator[None]:
    """Turns errors in what a file says into one of the file."""
    try:
        yield
    except (TypeError, ValueError) as error:
        raise FileFormatError(f"the description of the model in {path} cannot be read ({error}); damaged") from error


def _new_model(content: ModelFile, about: About) -> FactorizationModel:
    name = str(content.model_class)
    return _MAKERS[name](**{**_NEEDED.get(name, {}), **about.model})


def _of_library(interactions: Interactions, library: str) -> Interactions:
    return Interactions(
        interactions.matrix, interactions.user_ids, interactions.item_ids, interactions.titles, library=library
    )


def _counts(path: str, content: ModelFile, interactions: Interactions) -> np.ndarray[Any, np.dtype[np.int64]]:
    if content.item_counts is None:
        return np.zeros(interactions.num_items, np.int64)
    counts = content.item_counts.numpy()
    if counts.shape != (interactions.num_items,) or counts.dtype != np.int64 or (counts < 0).any():
        raise FileFormatError(f"the counts of users in {path} are not one for each item; it was damaged")
    return counts
