"""What a tuning found: its trials, and the best of them."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from recoder._html import html_table
from recoder.metrics.per_metric import aligned_table
from recoder.model import Recoder
from recoder.recipes import Recipe

__all__ = ["Trial", "TuningResult", "value_of"]


@dataclass(frozen=True)
class Trial:
    """A recipe that was trained with some settings.

    Attributes:
        number: from 0; a trial that was interrupted leaves a gap.
        state: ``"complete"``, ``"pruned"``: ended early since it was worse than others, or ``"failed"``.
        value: the metric's mean over the validation users; of a pruned trial the last; None where it failed.
        settings: of what is tuned, by name.
        seconds: how long it took.
        error: why it failed.
    """

    number: int
    state: str
    value: float | None
    settings: Mapping[str, Any]
    seconds: float
    error: str | None = None


@dataclass(frozen=True)
class TuningResult:
    """The trials of a study, and the best model; printed, the trials are a table.

    Attributes:
        metric: the name of the metric that was made as large as possible.
        trials: those that ended, in their order.
        best: the one with the largest value.
        best_settings: of it, as arguments of ``Recipe.but``.
        recipe: the recipe with these settings, to train it anew, on more data perhaps.
        recoder: the model that the best trial trained.
        seed: that all trials were trained with.
        model_file: the file of the best model; None where the study is in no file.
    """

    metric: str
    trials: Sequence[Trial]
    best: Trial
    best_settings: Mapping[str, Any]
    recipe: Recipe
    recoder: Recoder
    seed: int
    model_file: Path | None

    def to_arrow(self) -> pa.Table:
        """Returns the trials as a table, which ``.to_pandas()`` and ``polars.from_arrow`` take over.

        The columns are ``trial``, ``state``, the metric, ``seconds``, one for each setting, and ``error``; lists and
        mappings stand there as JSON.
        """
        columns: dict[str, list[Any]] = {
            "trial": [trial.number for trial in self.trials],
            "state": [trial.state for trial in self.trials],
            self.metric: [trial.value for trial in self.trials],
            "seconds": [trial.seconds for trial in self.trials],
        }
        for name in self.best.settings:
            columns[name] = _of_one_type([trial.settings[name] for trial in self.trials])
        errors = pa.array([trial.error for trial in self.trials], pa.string())
        return pa.table({**columns, "error": errors})

    def __str__(self) -> str:
        return aligned_table([self._head(), *self._rows()])

    def _repr_html_(self) -> str:
        best = list(self.trials).index(self.best)
        return html_table(self._head(), self._rows(), num_text_columns=2, bold=[best])

    def __repr__(self) -> str:
        return f"TuningResult({len(self.trials)} trials, best {self.metric} {value_of(self.best):.4f})"

    def _head(self) -> list[str]:
        return ["trial", "state", self.metric, *self.best.settings, "seconds"]

    def _rows(self) -> list[list[str]]:
        return [
            [
                f"{trial.number} *" if trial == self.best else str(trial.number),
                trial.state,
                "" if trial.value is None else f"{trial.value:.4f}",
                *(_short(value) for value in trial.settings.values()),
                f"{trial.seconds:.1f}",
            ]
            for trial in self.trials
        ]


def value_of(trial: Trial) -> float:
    """Returns the value of a trial; negative infinity where it has none."""
    return -math.inf if trial.value is None else trial.value


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _of_one_type(values: list[Any]) -> list[Any]:
    if len({type(value) for value in values}) == 1 and not isinstance(values[0], list | tuple | dict):
        return values
    return [json.dumps(value) for value in values]
