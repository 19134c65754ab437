"""A process of several that counts what a training step sends, and what its part of a model takes."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import numpy as np
import torch
from scipy import sparse

from recoder.data import RecommendationDataset
from recoder.model import Recoder
from recoder.nn import DynamicAutoencoder, FactorizationModel, MatrixFactorization

USERS, BATCH, FACTORS = 200, 50, 8
STEPS = USERS // BATCH
SIZES = (20_000, 200_000)
"""Of the catalogue."""

MODELS = {
    "autoencoder": lambda: DynamicAutoencoder([FACTORS], sparse=True),
    "factorization": lambda: MatrixFactorization(FACTORS, sparse=True),
}


def numbers_in(recoder: Recoder) -> int:
    """How many numbers the model's parameters and the optimizer's state are."""
    held = {tensor.data_ptr(): tensor.numel() for tensor in recoder.model.state_dict().values()}
    state = recoder.file_content().optimizer
    return sum(held.values()) + sum(value.numel() for entries in state.values() for value in entries.values())


def cost(model: FactorizationModel, loss: str, num_items: int, parallel: str | None, **arguments: object) -> dict:
    """What a run of one epoch sends per step, and holds."""
    rng = np.random.default_rng(0)
    cols = rng.integers(num_items, size=(USERS, 15))
    rows = np.repeat(np.arange(USERS), 15)
    matrix = sparse.csr_matrix((np.ones(rows.size), (rows, cols.ravel())), shape=(USERS, num_items))
    matrix.data[:] = 1
    recoder = Recoder(model, optimizer_type="adam", loss=loss, parallel=parallel, seed=1)
    recoder.train(RecommendationDataset(matrix), batch_size=BATCH, **arguments)
    return {"sent": model.parts.ranks.numbers_sent / STEPS, "held": numbers_in(recoder)}


def main(path: str) -> None:
    """Writes the costs of all cases as JSON."""
    found = {}
    sampled = {"negative_sampling": True}
    for name, make in MODELS.items():
        for loss in ("logistic", "logloss", "mse"):
            for num_items in SIZES:
                found[f"{name} {loss} {num_items}"] = cost(make(), loss, num_items, "items", **sampled)
    if os.environ["RANK"] == "0":
        Path(path).write_text(json.dumps(found))
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(*sys.argv[1:])
