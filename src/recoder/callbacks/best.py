"""The file of the best epoch."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from recoder._checks import path_text
from recoder._files import check_writable, move, replace_folder
from recoder.errors import ConfigError
from recoder.metrics import Metric
from recoder.training.events import Callback, EpochReport, TrainingRun
from recoder.training.part_files import check_replaceable, saved_history
from recoder.training.stopping import epoch_value

__all__ = ["BestCheckpoint"]


class BestCheckpoint(Callback):
    """Keeps the file of the best epoch so far, without ending the run.

    Of a run that goes on, the epoch in the file counts, as long as it is there. A new run replaces it. Where
    processes train together, each must have one, and where they share the items the file is a folder.

    Args:
        prefix: the file is ``{prefix}_best.model``; missing folders are made.
        metric: one of the ``metrics`` of the training, or its name: the epoch with the highest mean is the best. None:
            the one with the lowest validation loss.

    Attributes:
        path: of the file.

    Raises:
        ConfigError: when training starts, if nothing is validated, or not that metric.
        FileWriteError: if the file cannot be written; said when training starts where possible.
    """

    def __init__(self, prefix: str | os.PathLike[str], metric: Metric | str | None = None) -> None:
        self._prefix = f"{path_text('prefix', prefix)}_best"
        self._metric = None if metric is None else str(metric)
        self.path = Path(f"{self._prefix}.model")
        self._run: TrainingRun | None = None
        self._best = -math.inf

    def on_train_start(self, run: TrainingRun) -> None:
        """Looks up the best of the epochs so far."""
        evaluated = run.arguments["train"].get("metrics") or []
        if self._metric is None and not run.has_validation:
            raise ConfigError("BestCheckpoint needs validation users to look at; pass val_dataset")
        if self._metric is not None and self._metric not in evaluated:
            raise ConfigError(
                f"BestCheckpoint looks at {self._metric}, but metrics are {', '.join(evaluated) or 'not given'}; "
                "add it to metrics, with eval_freq=1"
            )
        if self.path.is_dir():
            check_replaceable(self.path)
        else:
            check_writable(self.path)
        self._run = run
        # not the best epoch of the history: that may be one whose file could not be written
        kept, known = saved_history(self.path), run.history
        # a run that goes on from an earlier epoch than the file's has the first of its epochs
        is_of_this_run = len(kept) > 0 and len(known) > 0 and all(map(_are_equal, kept.to_json(), known.to_json()))
        value = epoch_value(self._metric, kept[-1]) if is_of_this_run else None
        self._best = value if value is not None and math.isfinite(value) else -math.inf

    def on_checkpoint(self, report: EpochReport) -> None:
        """Saves, where the epoch is better."""
        value = epoch_value(self._metric, report)
        if self._run is not None and value is not None and value > self._best:
            saved = Path(self._run.save(self._prefix))
            if self._run.is_first:
                whole_or_parts = replace_folder if saved.is_dir() or self.path.is_dir() else move
                whole_or_parts(saved, self.path)
            self._best = value


def _are_equal(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Returns whether two epochs, as JSON values, in which NaN is None, are the same training."""
    return all(one[name] == other[name] for name in ("epoch", "loss", "val_loss", "metrics"))
