"""A training that takes a few milliseconds, with validation users and a metric."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import sparse

from recoder.data import RecommendationDataset
from recoder.metrics import NDCG
from recoder.model import Recoder
from recoder.nn import DynamicAutoencoder
from recoder.training import Callback

USERS, ITEMS = 24, 15


def dataset(seed: int = 3) -> RecommendationDataset:
    rng = np.random.default_rng(seed)
    dense = (rng.random((2, USERS, ITEMS)) < 0.35).astype(np.float32)
    dense[:, :, 0] = 1
    return RecommendationDataset(sparse.csr_matrix(dense[0]), sparse.csr_matrix(dense[1]))


def recoder(seed: int = 11) -> Recoder:
    return Recoder(DynamicAutoencoder([6], noise_prob=0.4), optimizer_type="adam", loss="logloss", seed=seed)


def run(made: Recoder, *callbacks: Callback, **changes: Any) -> Recoder:
    arguments = {"lr": 0.05, "batch_size": 6, "num_epochs": 4, "metrics": [NDCG(5)], "eval_freq": 1}
    made.train(dataset(3), dataset(4), callbacks=callbacks, **{**arguments, **changes})
    return made
