"""Stopping a run when validation no longer gets better, with the best weights given back."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from recoder._checks import non_negative, whole_number
from recoder.errors import ConfigError
from recoder.metrics import Metric
from recoder.training.events import Callback, EpochReport, TrainingRun
from recoder.training.history import EpochRecord, History
from recoder.training.model_file import without_aliases

__all__ = ["Best", "EarlyStopping", "GivesBestBack", "StopsEarly", "best_of", "epoch_value", "give_back"]

_log = logging.getLogger("recoder.training")


@dataclass(frozen=True)
class EarlyStopping:
    """When training ends before its last epoch. Whenever it ends, the model gets the weights of the best epoch.

    Args:
        metric: one of ``metrics``, or its name: the epoch with the highest mean is the best. None: the one with the
            lowest validation loss.
        patience: training ends when so many evaluations in a row were not better than the best.
        min_delta: an epoch is better if it is by more than this.

    Raises:
        ConfigError: if an argument is out of range.
    """

    metric: Metric | str | None = None
    patience: int = 5
    min_delta: float = 0.0

    def __post_init__(self) -> None:
        # for a file and for comparing: its name is what a history knows
        object.__setattr__(self, "metric", None if self.metric is None else str(self.metric))
        object.__setattr__(self, "patience", whole_number("patience", self.patience, 1))
        object.__setattr__(self, "min_delta", non_negative("min_delta", self.min_delta))

    def value_of(self, report: EpochReport) -> float | None:
        """Returns what the epoch is judged by, the higher the better; None if it was not evaluated."""
        return epoch_value(None if self.metric is None else str(self.metric), report)

    def to_json(self) -> dict[str, Any]:
        """Returns the arguments as JSON values."""
        return asdict(self)


def epoch_value(metric: str | None, epoch: EpochReport | EpochRecord) -> float | None:
    """Returns an epoch's mean of a metric, or the negative validation loss for None; None if it was not evaluated."""
    if metric is None:
        return None if epoch.val_loss is None else -epoch.val_loss
    return epoch.metrics.get(metric)


@dataclass
class Best:
    """The best epoch of a run so far.

    Attributes:
        epoch: its number; 0: none was evaluated yet.
        value: what it is judged by, the higher the better.
        misses: evaluations since that were not better.
        is_over: whether they were too many, so that the run was ended.
        data: the validation users that it was judged by, as ``data_mark`` tells.
        weights: the model's state after that epoch, a tensor of several names once; none where the model has them.
    """

    epoch: int = 0
    value: float | None = None
    misses: int = 0
    is_over: bool = False
    data: str | None = None
    weights: dict[str, Tensor] = field(default_factory=dict, repr=False)

    def to_json(self) -> dict[str, Any]:
        """Returns all but the weights, as JSON values."""
        return {name: value for name, value in vars(self).items() if name != "weights"}

    @staticmethod
    def from_json(value: dict[str, Any], weights: dict[str, Tensor]) -> Best:
        """Returns what ``to_json`` gave, with the weights.

        Raises:
            ConfigError, TypeError: if it was something else.
        """
        best = Best(**value, weights=weights)
        for name in ("epoch", "misses"):
            whole_number(name, getattr(best, name), 0)
        if best.value is not None and not math.isfinite(best.value):
            raise ConfigError(f"the best value is {best.value}")
        return best


def best_of(best: Best, before: Any, rule: EarlyStopping | None, data: str | None) -> Best:
    """Returns what a run starts from.

    Args:
        best: what an earlier run reached.
        before: the rule of that run as JSON; None: it had none.
        rule: the rule now.
        data: by which users it judges; what others made of an epoch is no measure for these.
    """
    if not isinstance(before, dict) or rule is None or before.get("metric") != rule.metric or best.data != data:
        return Best(data=data)
    if before != rule.to_json():
        return replace(best, is_over=False)
    # a file may be written after the last epoch was judged and before the run ended
    return replace(best, is_over=best.is_over or (bool(best.weights) and best.misses >= rule.patience))


class StopsEarly(Callback):
    """Keeps the best epoch's weights and ends the run, as ``EarlyStopping`` says.

    Args:
        rule: when.
        best: the best epoch so far; it is changed in place, so that an interrupted run can go on.
        model: whose weights to keep.
    """

    def __init__(self, rule: EarlyStopping, best: Best, model: nn.Module) -> None:
        self._rule, self._best, self._model = rule, best, model

    def on_train_start(self, run: TrainingRun) -> None:
        """Keeps the weights of a run that ended, before it goes on."""
        if self._best.epoch and not self._best.weights:
            self._best.weights = _copied(self._model)
            self._best.misses = 0  # those of epochs that were given up

    def on_checkpoint(self, report: EpochReport) -> None:
        """Judges the epoch; not before it is whole, so that a run that is stopped in validation judges it once."""
        best, value = self._best, self._rule.value_of(report)
        if value is not None:
            if math.isfinite(value) and (best.value is None or value > best.value + self._rule.min_delta):
                weights = _copied(self._model)  # first: where that fails, all is of the best before
                best.epoch, best.value, best.misses, best.weights = report.epoch, value, 0, weights
            else:
                best.misses += 1
        if best.misses >= self._rule.patience:
            report.is_last = True


class GivesBestBack(Callback):
    """Gives the model the weights of the best epoch when the run ends; comes after all who want those of the last.

    Args:
        rule: by which it was the best.
        best: what it was.
        model: gets the weights.
        history: is told which epoch that was.
        forget_optimizer: is called where what the optimizer remembers is of later weights.
    """

    def __init__(
        self,
        rule: EarlyStopping,
        best: Best,
        model: nn.Module,
        history: History,
        forget_optimizer: Callable[[], None],
    ) -> None:
        self._rule, self._best, self._model, self._history = rule, best, model, history
        self._forget_optimizer = forget_optimizer
        self._num_epochs = 0

    def on_train_start(self, run: TrainingRun) -> None:
        """Learns which epoch would be the last."""
        self._num_epochs = run.num_epochs

    def on_checkpoint(self, report: EpochReport) -> None:
        """Gives them back, where the epoch is the last."""
        best = self._best
        if not report.is_last:
            return
        best.is_over = report.epoch < self._num_epochs and best.misses >= self._rule.patience
        if best.epoch:
            self._give_back(report)

    def _give_back(self, report: EpochReport) -> None:
        give_back(self._best, self._model, self._history)
        if self._best.epoch != report.epoch:
            self._forget_optimizer()
        _log.info(
            "%s after epoch %d: the model has the weights of epoch %d",
            "stopped early" if self._best.is_over else "ended",
            report.epoch,
            self._best.epoch,
        )


def give_back(best: Best, model: nn.Module, history: History) -> None:
    """Gives the model the weights of the best epoch, which are there, and tells the history which it was."""
    with torch.no_grad():
        model.load_state_dict(best.weights, strict=False)  # an alias is not there under its other names
    best.weights = {}
    history.best_epoch = best.epoch


def _copied(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in without_aliases(model.state_dict())[0].items()}
