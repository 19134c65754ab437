"""Ending a trial that is worse than others were."""

from __future__ import annotations

from typing import Any

from recoder.training.events import Callback, EpochReport, TrainingRun

__all__ = ["NUM_RUNGS", "Prunes"]

NUM_RUNGS = 10
"""Trials may have other numbers of epochs, so they are compared after each tenth of their run."""


class Prunes(Callback):
    """Reports a trial's validation to its study, and ends the run where that says so.

    Args:
        trial: of optuna.
        metric: the name of what it is judged by.

    Attributes:
        has_pruned: whether the run was ended.
    """

    def __init__(self, trial: Any, metric: str) -> None:
        self.has_pruned = False
        self._trial = trial
        self._metric = metric
        self._num_epochs = 1
        self._rung = 0

    def on_train_start(self, run: TrainingRun) -> None:
        """Learns how long the run is."""
        self._num_epochs = run.num_epochs

    def on_epoch_end(self, report: EpochReport) -> None:
        """Reports, where another tenth of the run is done."""
        rung = report.epoch * NUM_RUNGS // self._num_epochs
        if rung == self._rung:
            return
        self._rung = rung
        self._trial.report(report.metrics[self._metric], rung)
        if not report.is_last and self._trial.should_prune():
            self.has_pruned = report.is_last = True
