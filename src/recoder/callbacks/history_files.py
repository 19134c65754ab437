"""The history of a training as a text file that grows with each epoch."""

from __future__ import annotations

import csv
import io
import json
import math
import os
from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from recoder._checks import path_text
from recoder._files import append, atomic_write
from recoder.training.events import Callback, EpochReport, TrainingRun
from recoder.training.history import EpochRecord, History

__all__ = ["CSVLog", "JSONLinesLog"]

_ALWAYS = ("epoch", "loss", "val_loss", "lr", "seconds")


class _HistoryFile(Callback):
    """Writes each epoch when it ends; when a run goes on, the file starts with the epochs in its history.

    A new run replaces the file of an earlier one, as it does that of a checkpoint.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path_text("path", path))
        self._history: Sequence[EpochRecord] = ()

    def on_train_start(self, run: TrainingRun) -> None:
        """Writes the epochs so far."""
        self._history = run.history
        self._write_all()

    def on_checkpoint(self, report: EpochReport) -> None:
        """Adds the epoch."""
        append(self.path, self._lines(self._history[-1:]).encode())

    def _write_all(self) -> None:
        with atomic_write(self.path) as temporary:
            temporary.write_bytes((self._head() + self._lines(self._history)).encode())

    def _head(self) -> str:
        """Returns what stands before the first epoch."""
        return ""

    @abstractmethod
    def _lines(self, records: Sequence[EpochRecord]) -> str:
        """Returns a line for each epoch."""


class JSONLinesLog(_HistoryFile):
    """Writes a line of JSON for each epoch as soon as it ends: what ``History.to_json`` returns.

    When a run goes on, the file holds the epochs in its history and no others, so none stands there twice. A new run
    replaces the file.

    Args:
        path: of the file; missing folders are made.

    Raises:
        FileWriteError: if it cannot be written; what stands in it stays.
    """

    def _lines(self, records: Sequence[EpochRecord]) -> str:
        values = History(records).to_json()
        return "".join(json.dumps(value, ensure_ascii=False, allow_nan=False) + "\n" for value in values)


class CSVLog(_HistoryFile):
    """Writes a row of comma-separated values for each epoch as soon as it ends.

    The columns are ``epoch``, ``loss``, ``val_loss``, ``lr``, ``seconds``, and for a metric such as ``NDCG@100`` also
    ``NDCG@100 stderr``; what is not known is left empty. When a run goes on, the file holds the epochs in its history
    and no others, so none stands there twice. A new run replaces the file.

    Args:
        path: of the file; missing folders are made.

    Raises:
        FileWriteError: if it cannot be written; what stands in it stays.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        super().__init__(path)
        self._metrics: list[str] = []

    def on_train_start(self, run: TrainingRun) -> None:
        """Writes the head and the epochs so far."""
        self._metrics = list(run.arguments["train"].get("metrics") or [])
        self._know_metrics_of(run.history)
        super().on_train_start(run)

    def on_checkpoint(self, report: EpochReport) -> None:
        """Adds the epoch; where it has a metric that none had before, the file gets another column."""
        if self._know_metrics_of(self._history[-1:]):
            self._write_all()
        else:
            super().on_checkpoint(report)

    def _know_metrics_of(self, records: Sequence[EpochRecord]) -> bool:
        """Adds the metrics of these epochs to the columns, and returns whether one was new."""
        named = dict.fromkeys(name for record in records for name in record.metrics)
        new = [name for name in named if name not in self._metrics]
        self._metrics += new
        return bool(new)

    def _head(self) -> str:
        return _row([*_ALWAYS, *(column for name in self._metrics for column in (name, f"{name} stderr"))])

    def _lines(self, records: Sequence[EpochRecord]) -> str:
        return "".join(_row([_cell(value) for value in self._values(record)]) for record in records)

    def _values(self, record: EpochRecord) -> list[Any]:
        values = [getattr(record, name) for name in _ALWAYS]
        for name in self._metrics:
            values += [record.metrics.get(name), record.error_of(name)]
        return values


def _cell(value: float | None) -> str:
    return "" if value is None or not math.isfinite(value) else repr(value)


def _row(cells: list[str]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(cells)
    return line.getvalue()
