"""Tuning: which settings of a recipe are best for the data at hand."""

from recoder.tuning.result import Trial, TuningResult
from recoder.tuning.spaces import SPACES, Choice, Range, Space
from recoder.tuning.tune import tune

__all__ = ["SPACES", "Choice", "Range", "Space", "Trial", "TuningResult", "tune"]
