"""Runs in Weights & Biases."""

from __future__ import annotations

from typing import Any

from recoder.callbacks.values import imported, scalars
from recoder.training.events import Callback, EpochReport, TrainingRun

__all__ = ["WandbLog"]


class WandbLog(Callback):
    """Logs losses, learning rate and metrics by epoch to a run of Weights & Biases, and the arguments as its config.

    It starts a run and finishes it; where one is active already, it logs to that and leaves it open.

    Args:
        init: arguments of ``wandb.init``, such as ``project``, ``name`` and ``mode="offline"``. To go on with a run,
            pass its ``id`` and ``resume="allow"``.

    Raises:
        MissingDependencyError: if ``wandb`` is not installed (extra ``wandb``).
    """

    def __init__(self, **init: Any) -> None:
        self._init = init
        self._wandb = imported("wandb", "wandb")
        self._run: Any = None
        self._is_own = False

    def on_train_start(self, run: TrainingRun) -> None:
        """Starts the run, and tells it the arguments."""
        self._is_own = self._wandb.run is None
        self._run = self._wandb.init(**self._init) if self._is_own else self._wandb.run
        self._run.config.update(dict(run.arguments), allow_val_change=True)

    def on_checkpoint(self, report: EpochReport) -> None:
        """Logs the epoch's numbers."""
        values = scalars(report)
        for name in values:
            self._run.define_metric(name, step_metric="epoch")
        self._run.log({"epoch": report.epoch, **values})

    def on_train_end(self, error: BaseException | None) -> None:
        """Finishes the run."""
        if self._run is not None and self._is_own:
            self._run.finish(exit_code=0 if error is None else 1)
        self._run = None
