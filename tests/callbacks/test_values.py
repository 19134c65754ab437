from __future__ import annotations

import math
import sys

import pytest

from recoder.callbacks import MLflowLog, TensorBoardLog, WandbLog
from recoder.callbacks.values import flat, scalars
from recoder.errors import MissingDependencyError
from recoder.training import EpochReport


def test_numbers_of_an_epoch_are_those_that_are_finite():
    report = EpochReport(3, is_last=False, loss=math.nan, lr=0.1, seconds=2.0)
    assert scalars(report) == {"lr": 0.1, "seconds": 2.0}
    report.loss, report.val_loss = 1.5, math.inf
    report.metrics, report.metric_errors = {"a": 0.5, "b": 0.25}, {"a": 0.01, "b": math.nan}
    assert scalars(report) == {"loss": 1.5, "lr": 0.1, "seconds": 2.0, "a": 0.5, "b": 0.25, "a stderr": 0.01}


def test_arguments_are_flat_with_the_part_in_their_names():
    arguments = {"model": {"class": "EASE", "l2": 1.0}, "train": {"lr": 0.1}}
    assert flat(arguments) == {"model/class": "EASE", "model/l2": 1.0, "train/lr": 0.1}


@pytest.mark.parametrize(
    ("make", "module", "extra"),
    [
        (lambda: TensorBoardLog("folder"), "torch.utils.tensorboard", "tensorboard"),
        (MLflowLog, "mlflow", "mlflow"),
        (WandbLog, "wandb", "wandb"),
    ],
)
def test_what_is_not_installed_is_said_before_anything_is_trained(make, module, extra, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingDependencyError, match=rf'this needs {extra}: pip install "recsys-recoder\[{extra}\]"'):
        make()
