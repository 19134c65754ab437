"""What several test files need."""

from __future__ import annotations

from typing import Any

from recoder.training.config import TrainConfig

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
