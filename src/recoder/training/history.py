"""What happened in each epoch: to log, to look at, and to keep in the model file."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recoder._checks import path_text
from recoder._files import atomic_write
from recoder.errors import ConfigError, EmptyDataError, MissingDependencyError
from recoder.metrics.per_metric import margin_text
from recoder.training.history_html import history_html

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["EpochRecord", "History"]


@dataclass(frozen=True)
class EpochRecord:
    """One epoch.

    Attributes:
        epoch: its number, from 1.
        loss: training loss, mean per user.
        lr: learning rate of its last step; 0 for a model that is not learnt by steps.
        seconds: duration of the training steps.
        val_loss: loss on the validation data over the whole catalogue, mean per user: against what is given of a user
            and what is held out together, or the targets alone where training has such. None without such data.
        metrics: name of a metric to its mean over the validation users; empty where it was not evaluated.
        metric_errors: name of a metric to the standard error of that mean, where it has one.
    """

    epoch: int
    loss: float
    lr: float
    seconds: float
    val_loss: float | None = None
    metrics: dict[str, float] = field(default_factory=dict)
    metric_errors: dict[str, float] = field(default_factory=dict)

    def error_of(self, metric: str) -> float:
        """Returns the standard error of a metric's mean; NaN where none is known."""
        return self.metric_errors.get(metric, math.nan)

    def __str__(self) -> str:
        parts = [f"epoch {self.epoch}"]
        if not math.isnan(self.loss):  # as for a model that takes no steps
            parts.append(f"loss {self.loss:.4f}")
        if self.val_loss is not None:
            parts.append(f"val_loss {self.val_loss:.4f}")
        for name, mean in self.metrics.items():
            parts.append(f"{name} {mean:.4f} {margin_text(self.error_of(name))}".rstrip())
        if self.lr:
            parts.append(f"lr {self.lr:.3g}")
        return ", ".join([*parts, f"{self.seconds:.1f} s"])


class History(Sequence[EpochRecord]):
    """The epochs so far, in order; those of a run that was continued from a file included.

    Attributes:
        best_epoch: the epoch whose weights the model has, where a run with ``EarlyStopping`` ended; else None: it has
            those of the last step.
    """

    def __init__(self, records: Sequence[EpochRecord] = ()) -> None:
        self._records = list(records)
        self.best_epoch: int | None = None

    def append(self, record: EpochRecord) -> None:
        """Adds an epoch."""
        self._records.append(record)

    @property
    def of_weights(self) -> EpochRecord:
        """The epoch whose weights the model has; there must be one."""
        best = [record for record in self._records if record.epoch == self.best_epoch]
        return best[0] if best else self._records[-1]

    def __getitem__(self, index: Any) -> Any:
        return self._records[index]

    def __len__(self) -> int:
        return len(self._records)

    def __iter__(self) -> Iterator[EpochRecord]:
        return iter(self._records)

    def __repr__(self) -> str:
        lines = [str(record) for record in self] or ["no epoch yet"]
        if self.best_epoch is not None:
            lines.append(f"the model has the weights of epoch {self.best_epoch}")
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        return history_html(self)

    def to_json(self) -> list[dict[str, Any]]:
        """Returns the epochs as JSON values; a number that is not finite becomes None."""
        return [_finite(asdict(record)) for record in self]

    @staticmethod
    def from_json(values: list[dict[str, Any]]) -> History:
        """Returns the history that ``to_json`` gave."""
        return History([_record(value) for value in values])

    def plot(self, path: str | os.PathLike[str] | None = None) -> Figure:
        """Returns a figure of losses and metrics per epoch, and writes it to ``path`` (PNG, SVG, PDF) if given.

        The shaded bands are one standard error on both sides. A previous file at ``path`` stays whole until the new one
        is; a path without an ending gets that of a PNG.

        Raises:
            ConfigError: if ``path`` is no path, or ends in something else than a kind of picture.
            EmptyDataError: if there is no epoch yet.
            FileWriteError: if the file cannot be written.
            MissingDependencyError: if matplotlib is not installed (extra ``plots``).
        """
        if not self:
            raise EmptyDataError("there is no epoch to draw; train first")
        try:
            from matplotlib.figure import Figure
        except ImportError as error:
            raise MissingDependencyError('drawing needs matplotlib: pip install "recsys-recoder[plots]"') from error
        names = sorted({name for record in self for name in record.metrics})
        figure = Figure(figsize=(10, 4) if names else (5.5, 4), layout="constrained")
        axes = figure.subplots(1, 2 if names else 1, squeeze=False)[0]
        self._draw_losses(axes[0])
        if names:
            self._draw_metrics(axes[1], names)
        for axis in axes:
            axis.set_xlabel("epoch")
            axis.grid(alpha=0.3)
            axis.spines[["top", "right"]].set_visible(False)
            axis.xaxis.get_major_locator().set_params(integer=True)
        if path is not None:
            _write(figure, path)
        return figure

    def _draw_losses(self, axis: Any) -> None:
        lines = axis.plot([r.epoch for r in self], [r.loss for r in self], marker=".", color="C0", label="training")
        axis.set_ylabel("training loss per user")
        axis.set_title("Loss")
        validated = [r for r in self if r.val_loss is not None]
        if validated:
            # a scale of its own: it is summed over other items, and often over a part of each user's interactions
            right = axis.twinx()
            epochs, losses = [r.epoch for r in validated], [r.val_loss for r in validated]
            lines += right.plot(epochs, losses, marker=".", color="C1", label="validation (right scale)")
            right.set_ylabel("validation loss per user")
            right.spines["top"].set_visible(False)
        axis.legend(handles=lines, frameon=False)

    def _draw_metrics(self, axis: Any, names: list[str]) -> None:
        for name in names:
            evaluated = [r for r in self if name in r.metrics]
            epochs = [r.epoch for r in evaluated]
            means = [r.metrics[name] for r in evaluated]
            errors = [r.error_of(name) for r in evaluated]
            (line,) = axis.plot(epochs, means, marker=".", label=name)
            low = [m - e for m, e in zip(means, errors, strict=True)]
            high = [m + e for m, e in zip(means, errors, strict=True)]
            axis.fill_between(epochs, low, high, alpha=0.15, color=line.get_color(), linewidth=0)
        axis.set_ylabel("mean over validation users")
        axis.set_title("Validation")
        axis.legend(frameon=False)


def _write(figure: Figure, path: str | os.PathLike[str]) -> None:
    target = Path(path_text("path", path))
    target = target if target.suffix else Path(f"{target}.png")
    kind, kinds = target.suffix[1:].lower(), figure.canvas.get_supported_filetypes()
    if kind not in kinds:
        raise ConfigError(
            f"{target} ends in {target.suffix}, which is no kind of picture; choose one of .{', .'.join(sorted(kinds))}"
        )
    with atomic_write(target) as temporary:
        figure.savefig(temporary, dpi=150, format=kind)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _record(value: dict[str, Any]) -> EpochRecord:
    """Returns the epoch of these JSON values, where None stands for NaN, but for an absent ``val_loss``."""
    return EpochRecord(
        **{
            **value,
            "epoch": int(value["epoch"]),
            "lr": float(value["lr"]),
            "seconds": float(value["seconds"]),
            "val_loss": None if value["val_loss"] is None else float(value["val_loss"]),
            "loss": _or_nan(value["loss"]),
            "metrics": {name: _or_nan(mean) for name, mean in value["metrics"].items()},
            "metric_errors": {name: _or_nan(error) for name, error in value["metric_errors"].items()},
        }
    )


def _or_nan(value: float | None) -> float:
    return math.nan if value is None else float(value)
