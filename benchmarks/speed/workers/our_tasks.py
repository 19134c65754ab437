"""What is measured of this version alone, and the floor under it."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import torch
from protocol import Measure
from recoder_tasks import Task, fit, make_model, timed
from scipy import sparse

from recoder.data import RecommendationDataset, UsersInteractions

__all__ = ["prepare_epochs", "prepare_floor", "prepare_recommend"]


def prepare_floor(task: Task) -> Measure:
    """The matrix products of the output layer, on random numbers: the time of one step's."""
    matrix = sparse.load_npz(task["data"])
    num_items = matrix.shape[1] if task["candidates"] == "all" else _mean_candidates(matrix, task["batch_size"])
    # rows of scores that do not start at the edge of a cache line make the first product up to 1.7 times slower
    num_items = -(-num_items // 64) * 64
    dtype = {"fp32": torch.float32, "bf16": torch.bfloat16}[task["precision"]]
    products = _gram_products if task["kind"] == "gram" else _score_products
    run = products(task["batch_size"], num_items, task["factors"], dtype)

    def measure() -> dict[str, Any]:
        return {"value": float(np.median([timed(run)["value"] for _ in range(10)])), "items": num_items}

    measure()
    return measure


def _score_products(B: int, I: int, D: int, dtype: torch.dtype) -> Any:  # noqa: E741  # sizes, as everywhere
    z_BD, W_ID, g_BI = torch.randn(B, D).to(dtype), torch.randn(I, D).to(dtype), torch.randn(B, I).to(dtype)
    scores_BI, dW_ID, dz_BD = torch.empty_like(g_BI), torch.empty_like(W_ID), torch.empty_like(z_BD)

    def run() -> None:
        torch.mm(z_BD, W_ID.T, out=scores_BI)
        torch.mm(g_BI.T, z_BD, out=dW_ID)
        torch.mm(g_BI, W_ID, out=dz_BD)

    return run


def _gram_products(B: int, I: int, D: int, dtype: torch.dtype) -> Any:  # noqa: E741
    W_ID, S_DD = torch.randn(I, D).to(dtype), torch.randn(D, D).to(dtype)
    G_DD, dW_ID = torch.empty_like(S_DD), torch.empty_like(W_ID)

    def run() -> None:
        torch.mm(W_ID.T, W_ID, out=G_DD)
        torch.mm(W_ID, S_DD, out=dW_ID)

    return run


def _mean_candidates(matrix: sparse.csr_matrix, batch_size: int) -> int:
    """Returns how many items the users of a batch have on average."""
    rng = np.random.default_rng(0)
    batches = [rng.choice(matrix.shape[0], batch_size, replace=False) for _ in range(20)]
    return round(float(np.mean([len(np.unique(matrix[users].indices)) for users in batches])))


def prepare_recommend(task: Task) -> Measure:
    """``recommend`` for many users in one call."""
    matrix = sparse.load_npz(task["data"])
    # a short training, so that scores are spread as those of a trained model are
    training = task | {
        "model": "autoencoder",
        "sparse": True,
        "loss": "logistic",
        "candidates": "sampled",
        "batch_size": min(500, matrix.shape[0]),
    }
    recoder = fit(training, make_model(training), RecommendationDataset(matrix), steps=30)
    users = np.random.default_rng(0).choice(matrix.shape[0], task["users"], replace=False)
    histories = UsersInteractions(users, matrix[users])

    def measure() -> dict[str, Any]:
        return timed(lambda: recoder.recommend(histories, task["count"]))

    measure()
    return measure


def prepare_epochs(task: Task) -> Measure:
    """Whole epochs of training, from the first step to the last."""
    if task["device"] == "cuda" and not torch.cuda.is_available():
        raise RuntimeError("no CUDA device here; on a machine with one, run: python -m benchmarks speed --only cuda")
    dataset = RecommendationDataset(sparse.load_npz(task["data"]))
    fit(task, make_model(task), dataset, steps=task["warm_up"])

    def measure() -> dict[str, Any]:
        model = make_model(task)
        started = time.perf_counter()
        fit(task, model, dataset, epochs=task["steps"])
        if task["device"] == "cuda":
            torch.cuda.synchronize()
        return {"value": time.perf_counter() - started}

    return measure
