"""Files from which an interrupted training goes on."""

from __future__ import annotations

import os
from pathlib import Path

from recoder.api.fitted import FittedModel
from recoder.errors import ConfigError, FileFormatError
from recoder.training.events import Callback, EpochReport
from recoder.training.restore import read_model_file

__all__ = ["Checkpoints", "checkpoint_path", "resume"]


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


def resume(fitted: FittedModel, path: Path) -> None:
    """Takes over what a checkpoint, or a model file, has reached.

    Args:
        fitted: a model that was made of the same interactions, and has learnt nothing yet.
        path: the file.

    Raises:
        FileFormatError: if it is no model file, or one of another model.
        ConfigError: if it was trained on other items, or other users where those are looked up.
    """
    content = read_model_file(path)
    if content.interactions is None:
        raise FileFormatError(f"{path} holds no ids; go on from a file that recoder train wrote")
    if content.interactions.item_ids != fitted.item_ids or content.num_users != fitted.interactions.num_users:
        raise ConfigError(
            f"{path} was trained on {len(content.interactions.item_ids)} items and {content.num_users} users, and "
            f"these are {len(fitted.item_ids)} items and {fitted.interactions.num_users} users, or others: the data, "
            "its filter or its split has changed; train anew"
        )
    fitted.recoder.take_over(path, content)
