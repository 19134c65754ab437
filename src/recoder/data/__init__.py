"""Interactions: reading, checking, splitting and batching them."""

from recoder.data.batches import Batch, BatchCollator
from recoder.data.datasets import RecommendationDataset, UsersInteractions
from recoder.data.id_map import IdMap
from recoder.data.interactions import Interactions
from recoder.data.loader import RecommendationDataLoader
from recoder.data.splits import HeldOut, StrongSplit, random_holdout, strong_generalization

__all__ = [
    "Batch",
    "BatchCollator",
    "HeldOut",
    "IdMap",
    "Interactions",
    "RecommendationDataLoader",
    "RecommendationDataset",
    "StrongSplit",
    "UsersInteractions",
    "random_holdout",
    "strong_generalization",
]
