from __future__ import annotations

import json
import threading

import numpy as np
import pytest

from recoder.errors import ConfigError
from recoder.metrics import NDCG, Metric, Recall
from support import TRAIN_DEFAULTS
from support import train_config as config


def test_documented_defaults_are_in_order():
    assert config().to_json() == TRAIN_DEFAULTS


WRONG = [
    ("lr", -0.1),
    ("lr", float("nan")),
    ("lr", float("inf")),
    ("lr", "fast"),
    ("lr", None),
    ("weight_decay", -1e-5),
    ("weight_decay", float("inf")),
    ("num_epochs", 0),
    ("num_epochs", -1),
    ("num_epochs", 1.5),
    ("num_epochs", None),
    ("num_epochs", "10"),
    ("num_epochs", float("nan")),
    ("num_epochs", True),
    ("batch_size", 0),
    ("batch_size", 2.5),
    ("batch_size", "many"),
    ("iters_per_epoch", 0),
    ("iters_per_epoch", float("inf")),
    ("eval_num_recommendations", 0),
    ("eval_num_users", 0),
    ("eval_batch_size", 0),
    ("num_sampling_users", -1),
    ("num_data_workers", -1),
    ("checkpoint_freq", -1),
    ("eval_freq", -1),
]


@pytest.mark.parametrize(("name", "value"), WRONG)
def test_a_number_out_of_range_is_an_error_that_names_it(name, value):
    with pytest.raises(ConfigError, match=f"{name} is {value!r}; it must be"):
        config(**{name: value})


@pytest.mark.parametrize("milestones", [[0], [2, -1], [1.5], ["2"]])
def test_milestones_are_epochs(milestones):
    with pytest.raises(ConfigError, match=r"an epoch in lr_milestones is .* at least 1"):
        config(lr_milestones=milestones)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"checkpoint_freq": 2}, "no model_checkpoint_prefix"),
        ({"metrics": [NDCG(10)]}, "eval_freq is 0; pass eval_freq=1"),
        ({"eval_freq": 2}, "no metrics"),
        ({"eval_freq": 2, "metrics": []}, "no metrics"),
    ],
)
def test_arguments_that_contradict_each_other_are_errors(changes, words):
    with pytest.raises(ConfigError, match=words):
        config(**changes)


def test_learning_rate_falls_to_a_tenth_after_each_milestone():
    lr_in_epoch = config(lr=1.0, lr_milestones=[2, 5]).lr_in_epoch
    assert [lr_in_epoch(epoch) for epoch in range(1, 8)] == pytest.approx([1, 1, 0.1, 0.1, 0.1, 0.01, 0.01])


def test_learning_rate_stays_without_milestones():
    assert config(lr=0.5).lr_in_epoch(1000) == 0.5


def test_numbers_of_numpy_are_taken_and_can_be_stored():
    made = config(
        lr=np.float32(0.5),
        weight_decay=np.float64(0.25),
        batch_size=np.int64(500),
        num_epochs=np.int32(7),
        eval_num_users=np.int64(3),
        lr_milestones=np.array([2, 4]),
    )
    stored = json.loads(json.dumps(made.to_json()))
    assert stored == TRAIN_DEFAULTS | {
        "lr": 0.5,
        "weight_decay": 0.25,
        "batch_size": 500,
        "num_epochs": 7,
        "eval_num_users": 3,
        "lr_milestones": [2, 4],
    }
    assert made.lr_in_epoch(3) == pytest.approx(0.05)


class Own(Metric):
    """Cannot be copied."""

    def __init__(self):
        super().__init__("own")
        self.lock = threading.Lock()

    def evaluate(self, x, y):
        return 0.0


def test_metrics_are_stored_by_name():
    made = config(metrics=[Recall(20), Own()], eval_freq=1)
    assert made.to_json()["metrics"] == [str(Recall(20)), "own"]
