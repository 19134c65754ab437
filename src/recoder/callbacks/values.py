"""What trackers are told of a run: flat names, plain values."""

from __future__ import annotations

import importlib
import math
from collections.abc import Mapping
from typing import Any

from recoder.errors import MissingDependencyError
from recoder.training.events import EpochReport

__all__ = ["flat", "imported", "scalars"]


def scalars(report: EpochReport) -> dict[str, float]:
    """Returns the numbers of an epoch that are finite, by name; the standard error of ``m`` is ``m stderr``."""
    values: dict[str, float | None] = {
        "loss": report.loss,
        "val_loss": report.val_loss,
        "lr": report.lr,
        "seconds": report.seconds,
        **report.metrics,
        **{f"{name} stderr": error for name, error in report.metric_errors.items()},
    }
    return {name: float(value) for name, value in values.items() if value is not None and math.isfinite(value)}


def flat(arguments: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Returns a run's arguments as one mapping, with names such as ``model/hidden_layers``."""
    return {f"{part}/{name}": value for part, values in arguments.items() for name, value in values.items()}


def imported(module: str, extra: str) -> Any:
    """Returns an optional module.

    Raises:
        MissingDependencyError: if it is not installed, which the extra does.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        name = module.partition(".")[0] if module != "torch.utils.tensorboard" else "tensorboard"
        raise MissingDependencyError(f'this needs {name}: pip install "recsys-recoder[{extra}]"') from error
