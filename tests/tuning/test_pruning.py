from __future__ import annotations

import pytest

from recoder.training import EpochReport
from recoder.tuning.pruning import Prunes
from support import training_run


class FakeTrial:
    def __init__(self, prunes_at=None):
        self.reported, self.prunes_at = [], prunes_at

    def report(self, value, step):
        self.reported.append((step, value))

    def should_prune(self):
        return self.reported[-1][0] == self.prunes_at


def told(trial, num_epochs):
    """The callback after a run, and how many epochs that had."""
    callback = Prunes(trial, "m")
    callback.on_train_start(training_run(num_epochs=num_epochs))
    for epoch in range(1, num_epochs + 1):
        report = EpochReport(epoch, epoch == num_epochs, 1.0, 0.1, 1.0, metrics={"m": float(epoch)})
        callback.on_epoch_end(report)
        if report.is_last:
            break
    return callback, epoch


@pytest.mark.parametrize(
    ("num_epochs", "steps"),
    [
        (10, [(n, float(n)) for n in range(1, 11)]),
        (20, [(n, 2.0 * n) for n in range(1, 11)]),
        (4, [(2, 1.0), (5, 2.0), (7, 3.0), (10, 4.0)]),
        (1, [(10, 1.0)]),
        (15, [(1, 2.0), (2, 3.0), (3, 5.0), (4, 6.0), (5, 8.0), (6, 9.0), (7, 11.0), (8, 12.0), (9, 14.0), (10, 15.0)]),
    ],
)
def test_validation_is_reported_once_for_each_tenth_of_the_run(num_epochs, steps):
    trial = FakeTrial()
    callback, last = told(trial, num_epochs)
    assert trial.reported == steps
    assert (callback.has_pruned, last) == (False, num_epochs)


def test_the_run_ends_where_the_study_says_so_but_a_run_that_is_done_is_not_pruned():
    callback, last = told(FakeTrial(prunes_at=5), 20)
    assert (callback.has_pruned, last) == (True, 10)
    callback, last = told(FakeTrial(prunes_at=10), 20)
    assert (callback.has_pruned, last) == (False, 20)
