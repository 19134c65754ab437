"""What a run does otherwise than before, or that there is nothing left to do, said in the log."""

from __future__ import annotations

import logging
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from recoder.data.datasets import RecommendationDataset
from recoder.training.config import TrainConfig
from recoder.training.loop import Progress
from recoder.training.stopping import Best

__all__ = ["data_mark", "go_on_with", "is_done", "log_differences", "warn_of_another_order"]

_log = logging.getLogger("recoder.training")

_DECIDES_ORDER = ("batch_size", "num_sampling_users", "iters_per_epoch")


def data_mark(dataset: RecommendationDataset) -> str:
    """Returns words by which other data are known from these: how many each user has, of the input and the target."""
    matrices = [dataset.interactions_matrix, dataset.target_interactions_matrix]
    lengths = [np.ascontiguousarray(matrix.indptr, np.int64) for matrix in matrices if matrix is not None]
    checksum = 0
    for offsets in lengths:
        checksum = zlib.crc32(offsets.data, checksum)
    return f"{len(dataset)} users, {', '.join(str(offsets[-1]) for offsets in lengths)} interactions, {checksum:08x}"


def go_on_with(progress: Progress, data: str) -> None:
    """Begins an epoch anew that was begun with other data, with a warning: its steps were of other users."""
    if progress.step and progress.data not in (None, data):
        _log.warning(
            "epoch %d was begun with other data (%s): it begins anew with these (%s)",
            progress.epoch + 1,
            progress.data,
            data,
        )
        progress.begin_epoch_anew()
    progress.data = data


def is_done(progress: Progress, config: TrainConfig, best: Best) -> bool:
    """Returns whether there is nothing left to train, and logs a warning if so."""
    if progress.epoch >= config.num_epochs:
        _log.warning(
            "nothing to train: %d epochs are done and num_epochs, which counts them all, is %d; pass a larger one",
            progress.epoch,
            config.num_epochs,
        )
    elif best.is_over:
        _log.warning(
            "nothing to train: the run was stopped early after epoch %d, and the model has the weights of epoch %d; "
            "pass another early_stopping, or None, to go on from them",
            progress.epoch,
            best.epoch,
        )
    return best.is_over or progress.epoch >= config.num_epochs


def log_differences(what: str, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Logs, as one line at level INFO, each entry of ``before`` that is another in ``now``."""
    changed = [
        f"{name} {now[name]!r} (not {before[name]!r})" for name in before if name in now and before[name] != now[name]
    ]
    if changed:
        _log.info("%s: %s", what, ", ".join(changed))


def warn_of_another_order(before: Mapping[str, Any], now: Mapping[str, Any], progress: Progress) -> None:
    """Logs a warning if an epoch that was begun goes on with arguments that cut its users into other steps."""
    if progress.step and any(before.get(name) != now[name] for name in _DECIDES_ORDER):
        _log.warning(
            "epoch %d goes on after %d steps, but %s are not all as before: some of its users are visited twice "
            "or not at all",
            progress.epoch + 1,
            progress.step,
            ", ".join(_DECIDES_ORDER),
        )
