"""Curves for TensorBoard."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any

from recoder._checks import path_text
from recoder._files import check_writable, write_errors
from recoder._optional import imported
from recoder.callbacks.values import flat, scalars
from recoder.training.events import Callback, EpochReport, TrainingRun

__all__ = ["TensorBoardLog"]


class TensorBoardLog(Callback):
    """Writes what TensorBoard draws: losses, learning rate and metrics by epoch, and the run's arguments.

    Look at it with ``tensorboard --logdir``. When a run goes on, pass the same folder: epochs that are trained again
    take the place of the earlier ones.

    Args:
        folder: one of its own for each run; it is made.

    Raises:
        MissingDependencyError: if ``tensorboard`` is not installed (extra ``tensorboard``).
        FileWriteError: if the folder cannot be written to; said when training starts where possible.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self._folder = path_text("folder", folder)
        self._tensorboard = imported("torch.utils.tensorboard", "tensorboard", "tensorboard")
        self._writer: Any = None
        self._session_end: Any = None

    def on_train_start(self, run: TrainingRun) -> None:
        """Opens a file of events, and writes the arguments."""
        with self._write_errors():
            self._start(run)

    def _start(self, run: TrainingRun) -> None:
        check_writable(Path(self._folder) / "events")
        next_epoch = run.history[-1].epoch + 1 if run.history else 1
        self._writer = self._tensorboard.SummaryWriter(self._folder, purge_step=next_epoch)
        arguments = {
            name: value if isinstance(value, bool | int | float | str) else str(value)
            for name, value in flat(run.arguments).items()
        }
        validated = ["val_loss"] if run.has_validation else []
        names = ["loss", *validated, *(run.arguments["train"].get("metrics") or [])]
        experiment, start, self._session_end = self._tensorboard.summary.hparams(arguments, dict.fromkeys(names, 0.0))
        self._writer.file_writer.add_summary(experiment)
        self._writer.file_writer.add_summary(start)

    def on_checkpoint(self, report: EpochReport) -> None:
        """Writes the epoch's numbers."""
        with self._write_errors():
            for name, value in scalars(report).items():
                self._writer.add_scalar(name, value, report.epoch)
            self._writer.flush()

    def on_train_end(self, error: BaseException | None) -> None:
        """Closes the file."""
        if self._writer is None:
            return
        writer, self._writer = self._writer, None
        with self._write_errors():
            if error is None:
                writer.file_writer.add_summary(self._session_end)
            writer.close()

    def _write_errors(self) -> contextlib.AbstractContextManager[None]:
        return write_errors(self._folder, kept="the epochs before stay there")
