"""Interactions: reading, checking, splitting and batching them."""

from recoder.data.batches import Batch, BatchCollator
from recoder.data.datasets import RecommendationDataset, UsersInteractions
from recoder.data.id_map import IdMap
from recoder.data.interactions import Interactions
from recoder.data.loader import RecommendationDataLoader
from recoder.data.splits import (
    HeldOut,
    HoldoutSplit,
    StrongSplit,
    global_time,
    leave_last_out,
    random_holdout,
    strong_generalization,
)

__all__ = [
    "Batch",
    "BatchCollator",
    "HeldOut",
    "HoldoutSplit",
    "IdMap",
    "Interactions",
    "RecommendationDataLoader",
    "RecommendationDataset",
    "StrongSplit",
    "UsersInteractions",
    "global_time",
    "leave_last_out",
    "random_holdout",
    "strong_generalization",
]
