"""The events around the training loop, and what they tell."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from recoder.nn.base import FactorizationModel
from recoder.training.history import EpochRecord, History

__all__ = ["Callback", "EpochReport", "TrainingRun"]


@dataclass(frozen=True)
class TrainingRun:
    """What callbacks are told of a run when it starts.

    Attributes:
        num_epochs: how many there are in total, those of a run that it continues included.
        num_steps: likewise; a model that is not trained by steps has one, or one an epoch.
        first_step: how many of the steps are done already.
        has_validation: whether there are validation users, so that reports have a ``val_loss``.
        arguments: of the ``model`` (with its ``class``), of ``recoder`` and of ``train``: JSON values by name.
        model: what is trained. It is in training mode, and its weights change in place.
        history: the epochs so far; each stands in it before ``on_checkpoint`` tells of it.
        save: ``Recoder.save_state``. In ``on_checkpoint`` it writes the epoch that just ended; between two steps a
            file from which the run goes on within the epoch. Of processes that train together all must call it.
        is_first: whether this is the first of the processes that train together, the one that writes what all share.
    """

    num_epochs: int
    num_steps: int
    first_step: int
    has_validation: bool
    arguments: Mapping[str, Mapping[str, Any]]
    model: FactorizationModel
    history: History
    save: Callable[..., str]
    is_first: bool = True


@dataclass
class EpochReport:
    """What callbacks are told of an epoch, and may add to.

    Attributes:
        epoch: its number, from 1.
        is_last: whether the run ends after it; a callback may set it to end the run early, of several processes in any
            of them.
        loss: as in ``EpochRecord``, like the following.
        lr: learning rate of its last step.
        seconds: duration of the training steps.
        val_loss: loss on the validation data.
        metrics: name of a metric to its mean, where it is the epoch's turn to be evaluated.
        metric_errors: name of a metric to the standard error of that mean.
    """

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
        kept = {kept.name: getattr(self, kept.name) for kept in fields(EpochRecord)}
        # a callback's may be numbers of NumPy, which a file cannot hold
        for name in ("metrics", "metric_errors"):
            kept[name] = {metric: float(value) for metric, value in kept[name].items()}
        kept["val_loss"] = None if self.val_loss is None else float(self.val_loss)
        return EpochRecord(**kept)


class Callback:
    """Base of callbacks; each event does nothing unless a subclass says so.

    Pass objects of subclasses to ``Recoder.train(callbacks=[...])``. Whatever one of them raises ends the run. It is
    as after an interrupt: ``save_state`` keeps what was reached, and ``train`` goes on from there. Callbacks are
    no part of a model file, so pass them again.
    """

    def on_train_start(self, run: TrainingRun) -> None:
        """Called once, before the first step."""

    def on_step_end(self) -> None:
        """Called after each optimizer step."""

    def on_epoch_end(self, report: EpochReport) -> None:
        """Called after the steps and the validation of each epoch, before it is added to the history.

        What is added to the report is seen by callbacks that come later, and kept in the history. Where one raises,
        the epoch is not whole yet: when the run goes on, it is validated and told once more.
        """

    def on_checkpoint(self, report: EpochReport) -> None:
        """Called once the epoch is whole, in the history, and judged by ``EarlyStopping``.

        The model has the weights of this epoch; those of the best are given back, and the file of a checkpoint is
        written, after it. All callbacks are told, even if one of them raises.
        """

    def on_train_end(self, error: BaseException | None) -> None:
        """Called once, however training ends, even if the start was not told since another callback raised there.

        Args:
            error: what ended the run before its end, a ``KeyboardInterrupt`` perhaps; None where nothing did.
        """
