"""What several test files need."""

from __future__ import annotations

from typing import Any

from recoder.nn import Popularity
from recoder.training.config import TrainConfig
from recoder.training.events import Callback, TrainingRun
from recoder.training.history import History
from recoder.training.relay import Relay

TRAIN_DEFAULTS: dict[str, Any] = {
    "lr": 0.001,
    "weight_decay": 0,
    "num_epochs": 1,
    "iters_per_epoch": None,
    "batch_size": 64,
    "lr_milestones": None,
    "negative_sampling": False,
    "num_sampling_users": 0,
    "num_data_workers": 0,
    "model_checkpoint_prefix": None,
    "checkpoint_freq": 0,
    "eval_freq": 0,
    "eval_num_recommendations": None,
    "eval_num_users": None,
    "metrics": None,
    "eval_batch_size": None,
    "lr_schedule": "constant",
    "max_grad_norm": None,
    "popularity_bias": False,
    "num_uniform_negatives": 0,
    "logq_correction": False,
    "early_stopping": None,
}


def train_config(**changes: Any) -> TrainConfig:
    """Returns the documented defaults of ``train`` with some changes."""
    return TrainConfig(**(TRAIN_DEFAULTS | changes))


def training_run(**changes: Any) -> TrainingRun:
    """Returns what callbacks are told at the start of a run, with some changes."""
    facts: dict[str, Any] = {
        "num_epochs": 1,
        "num_steps": 1,
        "first_step": 0,
        "has_validation": False,
        "arguments": {"model": {"class": "Popularity"}, "recoder": {"seed": 1}, "train": TRAIN_DEFAULTS},
        "model": Popularity(),
        "history": History(),
        "save": lambda prefix: f"{prefix}_epoch_1.model",
    }
    return TrainingRun(**{**facts, **changes})


def relay_to(*callbacks: Callback) -> Relay:
    """Returns what tells the callbacks of a run of one step an epoch."""
    return Relay(callbacks, lambda done, steps: training_run(num_epochs=steps, first_step=done, num_steps=steps))
