"""Splitting interactions into what a model learns from and what it is judged by.

Every draw is a pure function of the seed, the interactions and the arguments. Sizes: U users, Z interactions.
"""

from recoder.data.splits.by_name import split_by_name
from recoder.data.splits.by_time import global_time, leave_last_out
from recoder.data.splits.random import random_holdout
from recoder.data.splits.results import HeldOut, HoldoutSplit, StrongSplit
from recoder.data.splits.strong import strong_generalization

__all__ = [
    "HeldOut",
    "HoldoutSplit",
    "StrongSplit",
    "global_time",
    "leave_last_out",
    "random_holdout",
    "split_by_name",
    "strong_generalization",
]
