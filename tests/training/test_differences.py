from __future__ import annotations

import logging

import pytest

from recoder.training.differences import log_differences, warn_of_another_order
from recoder.training.loop import Progress

ARGUMENTS = {"batch_size": 50, "num_sampling_users": 0, "iters_per_epoch": None, "lr": 0.1}


@pytest.mark.parametrize(
    ("before", "now", "said"),
    [
        ({"lr": 0.1, "seed": 3}, {"lr": 0.2, "seed": 3}, "train: lr 0.2 (not 0.1)"),
        ({"lr_milestones": [3]}, {"lr_milestones": None}, "train: lr_milestones None (not [3])"),
        ({"metrics": None}, {"metrics": ["NDCG@5"]}, "train: metrics ['NDCG@5'] (not None)"),
        ({"lr": 0.1}, {"lr": 0.1, "momentum": 1}, None),
        ({"gone": 1}, {}, None),
    ],
)
def test_what_is_other_than_before_is_logged_in_one_line(before, now, said, caplog):
    caplog.set_level(logging.INFO, "recoder.training")
    log_differences("train", before, now)
    assert caplog.messages == ([] if said is None else [said])


@pytest.mark.parametrize(
    ("changed", "step", "warns"),
    [
        ({"batch_size": 60}, 5, True),
        ({"num_sampling_users": 100}, 5, True),
        ({"iters_per_epoch": 9}, 5, True),
        ({"lr": 0.2}, 5, False),
        ({"batch_size": 60}, 0, False),
    ],
)
def test_another_order_is_warned_about_only_within_an_epoch(changed, step, warns, caplog):
    warn_of_another_order(ARGUMENTS, ARGUMENTS | changed, Progress(epoch=2, step=step, num_users=50 * step))
    assert [record.levelname for record in caplog.records] == ["WARNING"] * warns
    if warns:
        assert "epoch 3 goes on after 5 steps" in caplog.text
