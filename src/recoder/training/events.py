"""The events around the training loop, and what they tell."""

from __future__ import annotations

from dataclasses import dataclass, field, fields

from recoder.training.history import EpochRecord

__all__ = ["Callback", "EpochReport"]


@dataclass
class EpochReport:
    """What callbacks are told of an epoch, and may add to."""

    epoch: int
    is_last: bool
    loss: float
    lr: float
    seconds: float
    val_loss: float | None = None
    metrics: dict[str, float] = field(default_factory=dict)
    metric_errors: dict[str, float] = field(default_factory=dict)

    def to_record(self) -> EpochRecord:
        """Returns what stays in the history."""
        return EpochRecord(**{kept.name: getattr(self, kept.name) for kept in fields(EpochRecord)})


class Callback:
    """Base of callbacks; each event does nothing unless a subclass says so."""

    def on_train_start(self, first_step: int, num_steps: int) -> None:
        """Called once: ``first_step`` of the ``num_steps`` steps of all epochs are done already."""

    def on_step_end(self) -> None:
        """Called after each optimizer step."""

    def on_epoch_end(self, report: EpochReport) -> None:
        """Called after each epoch; may add to the report, which callbacks that come later then see."""

    def on_checkpoint(self, report: EpochReport) -> None:
        """Called once all callbacks have had the end of the epoch, and the run's progress says that it is whole.

        A callback that sets ``report.is_last`` ends the run, and those that come later see it.
        """

    def on_train_end(self) -> None:
        """Called once, however training ends."""
