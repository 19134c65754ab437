"""Interactions: reading, checking, splitting and batching them."""

from recoder.data.batches import Batch, BatchCollator
from recoder.data.datasets import RecommendationDataset, UsersInteractions
from recoder.data.id_map import IdMap
from recoder.data.interactions import Interactions
from recoder.data.loader import RecommendationDataLoader
from recoder.data.readers import DatasetInfo, dataset_info, dataset_names, load_dataset, load_official_split
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
    "DatasetInfo",
    "HeldOut",
    "HoldoutSplit",
    "IdMap",
    "Interactions",
    "RecommendationDataLoader",
    "RecommendationDataset",
    "StrongSplit",
    "UsersInteractions",
    "dataset_info",
    "dataset_names",
    "global_time",
    "leave_last_out",
    "load_dataset",
    "load_official_split",
    "random_holdout",
    "strong_generalization",
]
