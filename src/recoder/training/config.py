"""What one call of ``train`` was asked to do: the documented arguments, checked once."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

from recoder._checks import non_negative, path_text, whole_number
from recoder.errors import ConfigError
from recoder.metrics import Metric
from recoder.training.schedules import LR_SCHEDULES, lr_factor
from recoder.training.stopping import EarlyStopping

__all__ = ["TrainConfig"]


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """The arguments of ``Recoder.train`` but for the data sets; ``Recoder.train`` documents them.

    Raises:
        ConfigError: if one is out of range, or two contradict each other.
    """

    lr: float
    weight_decay: float
    num_epochs: int
    iters_per_epoch: int | None
    batch_size: int
    lr_milestones: Sequence[int] | None
    negative_sampling: bool
    num_sampling_users: int
    num_data_workers: int
    model_checkpoint_prefix: str | os.PathLike[str] | None
    checkpoint_freq: int
    eval_freq: int
    eval_num_recommendations: int | None
    eval_num_users: int | None
    metrics: Sequence[Metric] | None
    eval_batch_size: int | None
    lr_schedule: str
    max_grad_norm: float | None
    popularity_bias: bool
    num_uniform_negatives: int
    logq_correction: bool
    early_stopping: EarlyStopping | None

    def __post_init__(self) -> None:
        for name in ("lr", "weight_decay"):
            self._set(name, non_negative(name, getattr(self, name)))
        for name in ("num_epochs", "batch_size"):
            self._set(name, whole_number(name, getattr(self, name), 1))
        for name in ("iters_per_epoch", "eval_num_recommendations", "eval_num_users", "eval_batch_size"):
            if getattr(self, name) is not None:
                self._set(name, whole_number(name, getattr(self, name), 1))
        for name in ("num_sampling_users", "num_uniform_negatives", "num_data_workers", "checkpoint_freq", "eval_freq"):
            self._set(name, whole_number(name, getattr(self, name), 0))
        self._set("lr_milestones", _tuple("lr_milestones", self.lr_milestones))
        if self.lr_milestones is not None:
            epochs = tuple(whole_number("an epoch in lr_milestones", epoch, 1) for epoch in self.lr_milestones)
            self._set("lr_milestones", epochs)
        if self.model_checkpoint_prefix is not None:
            self._set("model_checkpoint_prefix", path_text("model_checkpoint_prefix", self.model_checkpoint_prefix))
        if self.lr_schedule not in LR_SCHEDULES:
            raise ConfigError(f"unknown lr_schedule {self.lr_schedule!r}; choose one of {', '.join(LR_SCHEDULES)}")
        if self.logq_correction and not self.negative_sampling:
            raise ConfigError(
                "logq_correction is True but negative_sampling is False: all items are scored, none is sampled; "
                "leave logq_correction at False"
            )
        if self.max_grad_norm is not None:
            self._set("max_grad_norm", non_negative("max_grad_norm", self.max_grad_norm))
            if not self.max_grad_norm:
                raise ConfigError("max_grad_norm is 0, so nothing would be learnt; pass a larger one, or None")
        if self.checkpoint_freq and self.model_checkpoint_prefix is None:
            raise ConfigError(
                f"checkpoint_freq is {self.checkpoint_freq} but there is no model_checkpoint_prefix; "
                "pass the path that checkpoints start with"
            )
        if self.metrics and not self.eval_freq:
            raise ConfigError("metrics are given but eval_freq is 0; pass eval_freq=1 to evaluate after each epoch")
        if self.eval_freq and not self.metrics:
            raise ConfigError(f"eval_freq is {self.eval_freq} but there are no metrics; pass for example ['NDCG@100']")
        self._check_stopping()

    def _check_stopping(self) -> None:
        rule = self.early_stopping
        if rule is None:
            return
        if not isinstance(rule, EarlyStopping):
            raise ConfigError(f"early_stopping is {rule!r}; pass a recoder.training.EarlyStopping, or None")
        names = [str(metric) for metric in self.metrics or ()]
        if rule.metric is not None and rule.metric not in names:
            raise ConfigError(
                f"early_stopping looks at {rule.metric}, but metrics are {', '.join(names) or 'not given'}; "
                "add it to metrics, with eval_freq=1"
            )

    def _set(self, name: str, value: Any) -> None:
        # what was given may be of numpy: here are Python's own numbers, which a file can hold
        object.__setattr__(self, name, value)

    def lr_in_epoch(self, epoch: int) -> float:
        """Returns the learning rate of epoch ``epoch`` (from 1): a tenth for each milestone that lies behind."""
        passed = sum(epoch > milestone for milestone in self.lr_milestones or ())
        return float(self.lr * 0.1**passed)

    def lr_at(self, step: int, steps_per_epoch: int) -> float:
        """Returns the learning rate of one step, counted from 0 over the whole run."""
        factor = lr_factor(self.lr_schedule, step, self.num_epochs * steps_per_epoch)
        return self.lr_in_epoch(step // steps_per_epoch + 1) * factor

    def to_json(self) -> dict[str, Any]:
        """Returns the arguments as JSON values; metrics by their names."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        values["metrics"] = None if self.metrics is None else [str(metric) for metric in self.metrics]
        values["early_stopping"] = None if self.early_stopping is None else self.early_stopping.to_json()
        values["lr_milestones"] = None if self.lr_milestones is None else list(self.lr_milestones)
        return values


def _tuple(name: str, value: Any) -> tuple[Any, ...] | None:
    if value is None:
        return None
    try:
        return tuple(value)
    except TypeError:
        raise ConfigError(f"{name} is {value!r}; pass a list, if need be of one") from None
