"""A process of several that train together: runs cases and writes what came out of them, each rank a file."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import sparse

from recoder.data import RecommendationDataset, UsersInteractions
from recoder.metrics import NDCG
from recoder.model import Recoder
from recoder.nn import DynamicAutoencoder, FactorizationModel, MatrixFactorization, MultVAE

USERS, ITEMS, EPOCHS, K = 163, 157, 2, 20


@dataclass(frozen=True)
class Case:
    """A training run."""

    model: Callable[[], FactorizationModel]
    loss: str = "logistic"
    recoder: dict[str, Any] = field(default_factory=dict)
    train: dict[str, Any] = field(default_factory=dict)


def deep(sparse: bool = True, **more: Any) -> FactorizationModel:
    arguments = {"hidden_layers": [16, 8], "is_constrained": True, "dropout_prob": 0.3, "noise_prob": 0.5} | more
    return DynamicAutoencoder(**arguments, sparse=sparse)


def factorization(sparse: bool = True) -> FactorizationModel:
    return MatrixFactorization(16, "tanh", dropout_prob=0.2, sparse=sparse)


SAMPLED = {"negative_sampling": True, "num_sampling_users": 80}
CASES = {
    **{f"deep {loss}": Case(deep, loss, train=SAMPLED) for loss in ("mse", "logistic", "logloss")},
    **{f"deep {loss}, all items": Case(deep, loss) for loss in ("mse", "logistic", "logloss")},
    **{f"factors {loss}": Case(factorization, loss, train=SAMPLED) for loss in ("mse", "logistic", "logloss")},
    "gram": Case(lambda: deep(hidden_layers=[8]), "mse", {"loss_params": {"confidence": 3.0}}, {"batch_size": 60}),
    "gram of factors": Case(lambda: MatrixFactorization(6), "mse", train={"batch_size": 60}),
    "dense gradients": Case(lambda: deep(sparse=False), train=SAMPLED),
    "sgd": Case(lambda: deep(sparse=False), "logloss", {"optimizer_type": "sgd"}, {"lr": 0.05}),
    "clipped": Case(deep, train={**SAMPLED, "max_grad_norm": 0.01}),
    **{
        f"rowwise adagrad, {loss}": Case(deep, loss, {"optimizer_type": "rowwise_adagrad"}, {**SAMPLED, "lr": 0.1})
        for loss in ("mse", "logloss")
    },
    "rowwise adagrad of factors, clipped": Case(
        factorization, recoder={"optimizer_type": "rowwise_adagrad"}, train={**SAMPLED, "max_grad_norm": 0.01}
    ),
    "rowwise adagrad, all items": Case(lambda: deep(sparse=False), recoder={"optimizer_type": "rowwise_adagrad"}),
    "bf16 moments": Case(deep, "logloss", {"optimizer_state": "bf16"}, SAMPLED),
    "bf16 moments of factors": Case(factorization, recoder={"optimizer_state": "bf16"}, train=SAMPLED),
    "bf16 moments, all items": Case(lambda: deep(sparse=False), "mse", {"optimizer_state": "bf16"}),
    "uniform negatives and logq": Case(
        deep, "logloss", train={**SAMPLED, "num_uniform_negatives": 30, "logq_correction": True}
    ),
    "popularity": Case(deep, "logloss", train={"popularity_bias": True}),
    "variational": Case(lambda: MultVAE((16, 8), kl_steps=5), "logloss"),
    "tied variational": Case(lambda: MultVAE((16, 12, 8), kl_steps=5, is_constrained=True), "logistic", train=SAMPLED),
    "one user more than batches": Case(deep, train={**SAMPLED, "batch_size": 81, "num_sampling_users": 162}),
}

IN_FLOAT32 = ("deep logloss", "deep logistic, all items", "factors logistic", "gram")
OF_THREE = (
    "deep logistic",
    "deep logloss, all items",
    "factors logloss",
    "gram",
    "rowwise adagrad of factors, clipped",
    "popularity",
    "tied variational",
    "one user more than batches",
)
"""What three processes run in float64; the other cases are left to two, and some of them to four."""
OF_FOUR = (
    *OF_THREE,
    "deep mse, all items",
    "factors mse",
    "gram of factors",
    "dense gradients",
    "clipped",
    "bf16 moments",
    "uniform negatives and logq",
)


def named(dtype: torch.dtype, num_processes: int) -> tuple[str, ...]:
    """Which cases so many processes run."""
    if dtype == torch.float32:
        return IN_FLOAT32 if num_processes == 2 else ()
    return {3: OF_THREE, 4: OF_FOUR}.get(num_processes, tuple(CASES))


def data() -> tuple[RecommendationDataset, RecommendationDataset, UsersInteractions]:
    """Training users with weights, one of them without items; validation users with targets; and some to rank for."""
    rng = np.random.default_rng(3)
    popular = 1 / np.arange(1, ITEMS + 1) ** 0.7
    dense = (rng.random((USERS, ITEMS)) < 0.25 * popular / popular.max()) * rng.random((USERS, ITEMS))
    dense[5] = 0
    targets = (rng.random((USERS, ITEMS)) < 0.1) & (dense == 0)
    matrix = sparse.csr_matrix(dense[:, rng.permutation(ITEMS)])
    validation = RecommendationDataset(matrix[:50], sparse.csr_matrix(targets[:50].astype(float)))
    return RecommendationDataset(matrix), validation, UsersInteractions(np.arange(USERS), matrix)


def run(case: Case, parallel: str | None, dtype: torch.dtype) -> dict[str, np.ndarray]:
    """Trains, and returns losses, parameters, the items and users that these are of, and what is recommended."""
    torch.set_default_dtype(dtype)
    train, validation, users = data()
    recoder = Recoder(
        case.model(), loss=case.loss, parallel=parallel, seed=7, **{"optimizer_type": "adam", **case.recoder}
    )
    arguments = {"num_epochs": EPOCHS, "batch_size": 40, "lr": 0.01, "weight_decay": 1e-3} | case.train
    metrics = {"metrics": [NDCG(K)], "eval_freq": 1}
    history = recoder.train(train, validation, **{**arguments, **metrics})
    model, parts = recoder.model, recoder.model.parts
    found = {
        "losses": np.array([record.loss for record in history]),
        "val_losses": np.array([record.val_loss for record in history]),
        "ndcg": np.array([record.metrics[f"NDCG@{K}"] for record in history]),
        "items": np.arange(ITEMS) if parts.items is None else parts.items.numpy(),
        "users": np.arange(USERS) if parts.users is None else parts.users.numpy(),
        "ranked": recoder.ranked(users, K),
        "some": recoder.scorer().best(users, K, items=np.arange(3, 60), exclude_seen=False)[0],
        "one": recoder.scorer().best(users, K, items=np.array([11]), exclude_seen=False)[0],
        "scores": recoder.predict(users).numpy(),
        "pairs": recoder.scorer().at(users, np.arange(USERS), np.arange(USERS) % ITEMS),
    }
    return found | {f"model/{name}": tensor.numpy() for name, tensor in model.state_dict().items()}


def path_of(folder: Path, name: str, dtype: torch.dtype, rank: int) -> Path:
    """Where a process writes what comes out of a case."""
    return folder / f"{name}-{dtype}-{rank}.npz".replace(" ", "_").replace("torch.", "")


def main(folder: str, parallel: str) -> None:
    """Runs the cases in float64, and some in float32."""
    for dtype in (torch.float64, torch.float32):
        for name in named(dtype, int(os.environ["WORLD_SIZE"])):
            found = run(CASES[name], parallel, dtype)
            np.savez(path_of(Path(folder), name, dtype, int(os.environ["RANK"])), **found)
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(*sys.argv[1:])
