"""Tuning a recipe on validation users."""

from __future__ import annotations

import copy
import functools
import math
import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from recoder._checks import non_negative, path_text, whole_number
from recoder._random import fresh_seed
from recoder.data.datasets import RecommendationDataset
from recoder.data.interactions import Interactions
from recoder.data.splits import HeldOut
from recoder.data.splits.in_training import validation_rows
from recoder.data.splits.known_targets import without_known_targets
from recoder.errors import ConfigError, DataTypeError
from recoder.metrics import NDCG, Metric
from recoder.metrics.names import named_metric
from recoder.model import Recoder
from recoder.nn import FactorizationModel
from recoder.recipes import Recipe, recipe
from recoder.tuning.identity import check_same, describe
from recoder.tuning.model_files import ModelFiles
from recoder.tuning.pruning import Prunes
from recoder.tuning.result import TuningResult
from recoder.tuning.running import Tuning
from recoder.tuning.spaces import SPACES, Choice, Range, Space, defaults_of
from recoder.tuning.study import fail_abandoned, has_ended_trials, open_study

__all__ = ["tune"]

_NDCG = NDCG(100)
_OF_TRIALS = {"callbacks", "metrics", "eval_freq"}
"""Arguments of ``Recoder.train``: what prunes trials and what they are judged by."""


def tune(
    train: Interactions,
    valid: HeldOut,
    model: str | Recipe = "autoencoder",
    *,
    num_trials: int,
    timeout_s: float | None = None,
    metric: Metric | str = _NDCG,
    study: str | os.PathLike[str] | None = None,
    seed: int | None = None,
    device: str | torch.device | None = None,
    space: Space | None = None,
    **settings: Any,
) -> TuningResult:
    """Returns the best settings of a recipe for some data, and the model that was trained with them.

    The first trial is the recipe as it is; the others are chosen by optuna's tree-structured Parzen estimator
    (Bergstra et al. 2011, NeurIPS). A trial whose validation is below the median of the others ends early, and one
    that diverges or does not fit into memory has failed. All are trained with the same seed.

    With a ``study``, a tuning that was stopped at any moment goes on when it is called again with the same arguments,
    and chooses what the undisturbed one would have; the best model lies beside it: that of ``films.sqlite`` is
    ``films.sqlite_trial_{n}.model``. One process at a time may use it.

    Args:
        train: what the models learn from.
        valid: the users that they are judged by, as of ``strong_generalization``; report results on others.
        model: a recipe's name, or a recipe; of one around a model object, each trial trains a copy.
        num_trials: how many in total, those in the study included.
        timeout_s: no trial is started after so many seconds. None: no limit.
        metric: what is to be as large as possible, or its name, such as ``"NDCG@20"``.
        study: the SQLite file of the study; missing folders are made. None: it is kept in memory.
        seed: of the trials and of their training. None: that of the study, or drawn for a new one.
        device: as in ``Recoder``.
        space: what to tune. None: what ``SPACES`` has for the recipe.
        settings: arguments of the recipe that are not to be tuned, but as given here.

    Raises:
        ConfigError: if there is nothing to tune, an argument is out of range or not for trials to have, no trial was
            completed, or the study is of something else or in use by another process.
        DataTypeError: if ``train``, ``valid``, ``model`` or ``metric`` is something else.
        ShapeError: if ``valid`` is over other items than ``train``.
        UnknownIdError: if the model looks users up, and one of ``valid`` was not in training.
        FileFormatError: if the file is no study.
        FileWriteError: if the study or a model cannot be written.
        MissingDependencyError: if optuna is not installed (extra ``tune``).
    """
    end = math.inf if timeout_s is None else time.monotonic() + non_negative("timeout_s", timeout_s)
    judged_by = named_metric(metric) if isinstance(metric, str) else metric
    for name, value, kind in (("train", train, Interactions), ("metric", judged_by, Metric)):
        if not isinstance(value, kind):
            raise DataTypeError(f"{name} is a {type(value).__name__}; pass a {kind.__name__}")
    if not isinstance(model, str | Recipe):
        raise DataTypeError(
            f"model is a {type(model).__name__}; pass the name of a recipe, or a Recipe, as Recipe.of makes of a model"
        )
    num_trials = whole_number("num_trials", num_trials, 1)
    seed = None if seed is None else whole_number("seed", seed, 0)
    base = (recipe(model) if isinstance(model, str) else _with_own_models(model)).but(**settings)
    of_itself = sorted(_OF_TRIALS & base.train.keys())
    if of_itself:
        raise ConfigError(f"tune chooses {', '.join(of_itself)} for its trials itself; leave it out")
    valid = without_known_targets(valid)
    _validation_rows(base, valid, train)  # says what does not fit before there is a study
    space = _space_of(model, space, settings)
    defaults_of(base, space)  # likewise
    path = None if study is None else path_text("study", study)
    files = None if path is None else ModelFiles(Path(path))

    def fit(trained: Recipe, callbacks: list[Prunes]) -> Recoder:
        dataset = RecommendationDataset(train.matrix)
        validated = {"metrics": [judged_by], "eval_freq": 1}
        of_valid = _validation_rows(trained, valid, train)
        return trained.fit(dataset, of_valid, seed=seed, device=device, callbacks=callbacks, **validated)

    def save(number: int, recoder: Recoder) -> None:
        if files is not None:
            files.save(number, recoder, train)

    def load(made: Recipe, model_file: str) -> Recoder:
        recoder = Recoder(made.make_model(**made.model), **made.recoder, seed=seed, device=device)
        recoder.init_from_model_file(model_file)
        return recoder

    with open_study(path) as opened:
        stored = opened.user_attrs.get("recoder")
        if seed is None:
            seed = stored["seed"] if isinstance(stored, dict) and "seed" in stored else fresh_seed()
        described = describe(base, space, judged_by, train, valid, seed)
        is_of_tune = isinstance(stored, dict) and stored.keys() == described.keys()
        # where no trial ended, what was asked for may have been mistyped
        if stored is None or (is_of_tune and not has_ended_trials(opened)):
            opened.set_user_attr("recoder", described)
        else:
            check_same(str(path), stored, described)
        fail_abandoned(opened)
        tuning = Tuning(opened, base, space, str(judged_by), seed, fit, save, files)
        tuning.run(num_trials, end)
        return tuning.result(load)


def _validation_rows(trained: Recipe, valid: HeldOut, train: Interactions) -> RecommendationDataset:
    return validation_rows(valid, train, folds_in=trained.make_model(**trained.model).folds_in_users)


def _with_own_models(given: Recipe) -> Recipe:
    """Returns a recipe whose models are all different objects, so that a trial leaves those of the others alone."""
    if given.make_model(**given.model) is not given.make_model(**given.model):
        return given

    @functools.wraps(given.make_model)
    def make_copy(**arguments: Any) -> FactorizationModel:
        return copy.deepcopy(given.make_model(**arguments))

    return replace(given, make_model=make_copy)


def _space_of(model: str | Recipe, space: Space | None, settings: dict[str, Any]) -> Space:
    if space is None:
        if not isinstance(model, str):
            raise ConfigError("a recipe of your own has no space in SPACES; pass space={...}")
        space = SPACES.get(model, {})
    for name, choice in space.items():
        if not isinstance(choice, Range | Choice):
            raise DataTypeError(f"space has {choice!r} for {name}; pass a recoder.tuning.Range or Choice")
    left = {name: choice for name, choice in space.items() if name.partition(".")[0] not in settings}
    if not left:
        raise ConfigError(
            f"{model if isinstance(model, str) else 'the recipe'} has nothing that is left to tune: "
            f"{', '.join(sorted(space)) or 'nothing'} would be tried, and is set; leave some of it out of the settings"
        )
    return left
