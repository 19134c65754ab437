"""Files from which an interrupted training goes on."""

from __future__ import annotations

import os
from pathlib import Path
from shlex import quote
from typing import Any

from recoder.api.fitted import FittedModel
from recoder.cli.config import Config
from recoder.errors import ConfigError, FileFormatError
from recoder.recipes import recipe
from recoder.training.events import Callback, EpochReport
from recoder.training.restore import read_model_file

__all__ = ["Checkpoints", "check_overwritable", "check_resumable", "checkpoint_path", "resume"]

_MAY_DIFFER = ("parallel", "precision", "use_cuda")
"""Arguments of ``Recoder`` with which a training may go on otherwise than it began."""


def checkpoint_path(model: str | os.PathLike[str]) -> Path:
    """Returns where the checkpoint of a training lies, whose model will lie at ``model``."""
    return Path(f"{os.fspath(model)}.checkpoint")


class Checkpoints(Callback):
    """Saves the model after every so many epochs, so that a run that is killed can go on.

    Args:
        fitted: what is trained.
        path: the file; it is written anew each time.
        every: epochs in between; 0: never.
    """

    def __init__(self, fitted: FittedModel, path: Path, every: int) -> None:
        self._fitted, self._path, self._every = fitted, path, every

    def on_checkpoint(self, report: EpochReport) -> None:
        """Saves it, if it is the epoch's turn and others follow."""
        if self._every and report.epoch % self._every == 0 and not report.is_last:
            self._fitted.save(self._path, training_state=True)


def check_overwritable(checkpoint: Path, resume_from: Path | None) -> None:
    """Checks that no checkpoint of a run that was stopped would be lost.

    Args:
        checkpoint: where those of this run go.
        resume_from: what this run goes on from.

    Raises:
        ConfigError: if one is there that this run does not go on from.
    """
    if checkpoint.exists() and not (resume_from is not None and resume_from.resolve() == checkpoint.resolve()):
        raise ConfigError(
            f"{checkpoint} is there, of a training that was stopped: go on from it with "
            f"recoder train --resume {quote(str(checkpoint))}, or remove it to train anew"
        )


def check_resumable(path: Path, kept: Config, asked: Config) -> None:
    """Checks that a run is asked to go on with the model, the seed and the weights that it began with.

    Args:
        path: the file that it goes on from.
        kept: the configuration in it.
        asked: with what was said now.

    Raises:
        ConfigError: if it is to be another model, or its settings or the seed differ.
    """
    pairs: dict[str, tuple[Any, Any]] = {
        "recipe": (kept.model.recipe, asked.model.recipe),
        "seed": (kept.training.seed, asked.training.seed),
        "weights that count": (not kept.data.binary, not asked.data.binary),
        "min_weight": (kept.data.min_weight, asked.data.min_weight),
    }
    if kept.model.recipe == asked.model.recipe:
        of_training = 2  # the last part of a recipe
        for name, place in recipe(kept.model.recipe).arguments().items():
            if place < of_training and name not in _MAY_DIFFER:
                pairs[name] = kept.model.settings.get(name), asked.model.settings.get(name)
    for name, (before, now) in pairs.items():
        if before != now:
            raise ConfigError(
                f"{path} was made with {name} {before!r}, and training goes on from it with the same, not with "
                f"{now!r}; leave that out, or train anew without --resume"
            )


def resume(fitted: FittedModel, path: Path) -> None:
    """Takes over what a checkpoint, or a model file, has reached.

    Args:
        fitted: a model that was made of the same interactions, and has learnt nothing yet.
        path: the file.

    Raises:
        FileFormatError: if it is no model file, or one of another model.
        ConfigError: if it was trained on other items or interactions, or on other users as far as it names or counts
            them.
    """
    content = read_model_file(path)
    if content.interactions is None:
        raise FileFormatError(f"{path} holds no ids; go on from a file that recoder train wrote")
    if content.num_users == 0:
        raise ConfigError(
            f"{path} was saved without the users' rows of factors, so its training cannot go on: train anew with all "
            "the epochs that you want; with --histories a later file keeps these rows"
        )
    its, now = content.interactions, fitted.interactions
    has_others = len(its.user_ids) > 0 and its.user_ids != now.user_ids
    number = (content.about or {}).get("num_interactions", fitted.about.num_interactions)
    has_others = has_others or number != fitted.about.num_interactions
    if its.item_ids != now.item_ids or content.num_users != now.num_users or has_others:
        raise ConfigError(
            f"{path} was trained on {len(its.item_ids)} items, {content.num_users} users and {number} interactions, "
            f"and these are {len(now.item_ids)} items, {now.num_users} users and {fitted.about.num_interactions} "
            "interactions, or others: the data, its filter or its split has changed; train anew"
        )
    fitted.recoder.take_over(path, content)
