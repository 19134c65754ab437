"""One run of the real-data benchmark: train, evaluate, save, reload and recommend, through the documented interface."""

from __future__ import annotations

import os
import platform
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch

from benchmarks.real_data_design import AUTOENCODER, Recipe, Run
from recoder.data import Interactions, RecommendationDataset, random_holdout, strong_generalization
from recoder.metrics import NDCG
from recoder.model import Recoder
from recoder.nn import DynamicAutoencoder, FactorizationModel, MatrixFactorization, Popularity

__all__ = [
    "DATA_SETS",
    "Protocol",
    "ReloadError",
    "environment",
    "read_data_set",
    "read_interactions",
    "reloaded",
    "run_once",
]

DATA_SETS = {
    "goodbooks-10k-v1": ("ratings of 4 and 5", ["interactions.parquet"], 4.0),
    "gowalla": ("all check-ins", ["train.parquet", "test.parquet"], None),
}
"""By name: what is used, the files, the least rating."""

METRIC = NDCG(k=100)
NUM_RELOADED = 200


class ReloadError(Exception):
    """A reloaded model does not do what the saved one did."""


@dataclass(frozen=True)
class Protocol:
    """What all runs share.

    Attributes:
        seed: of splits and training.
        num_eval_users: users that are judged.
        steps_per_epoch: an epoch is so many steps, whatever the data set.
    """

    seed: int = 1
    num_eval_users: int = 3000
    steps_per_epoch: int = 100


@cache
def read_data_set(folder: Path, name: str) -> Interactions:
    """Returns the interactions of a data set, each of weight 1.

    Raises:
        FileNotFoundError: if a file is missing.
    """
    _, files, min_rating = DATA_SETS[name]
    return read_interactions([folder / name / file for file in files], min_rating)


def read_interactions(files: Sequence[Path], min_rating: float | None) -> Interactions:
    """Returns the interactions in Parquet files, each of weight 1.

    Args:
        files: with columns ``user_id`` and ``item_id``; all of them together are the set.
        min_rating: the least ``rating`` that counts. None: all rows count, and repeats count once.

    Raises:
        FileNotFoundError: if a file is missing.
    """
    table = pa.concat_tables([pq.read_table(file) for file in files])
    if min_rating is None:
        return Interactions.from_frame(table, user="user_id", item="item_id")
    rated = Interactions.from_frame(table, user="user_id", item="item_id", weight="rating")
    return rated.filter(min_weight=min_rating).binarize().drop_empty()


def run_once(run: Run, recipe: Recipe, protocol: Protocol, interactions: Interactions) -> dict[str, Any]:
    """Returns what one run measured, as JSON values.

    Raises:
        ReloadError: if scores or recommendations differ after saving and loading.
    """
    train, held_out = _split(run, protocol, interactions)
    recoder = _make(run, recipe, protocol)
    started = time.perf_counter()
    recoder.train(
        train,
        lr=recipe.lr,
        weight_decay=recipe.weight_decay,
        num_epochs=recipe.num_steps // protocol.steps_per_epoch,
        iters_per_epoch=protocol.steps_per_epoch,
        batch_size=recipe.batch_size,
        negative_sampling=run.candidates == "sampled",
    )
    seconds = time.perf_counter() - started
    popular = Recoder(Popularity(), seed=protocol.seed)
    popular.train(train)
    result, baseline = (
        each.evaluate(held_out, METRIC.k, [METRIC], batch_size=500, num_users=protocol.num_eval_users)
        for each in (recoder, popular)
    )
    reloaded(recoder, _make(run, recipe, protocol), held_out)
    paired = result.compare(baseline)[METRIC]
    return {
        "num_train_users": train.num_users,
        "num_items": train.num_items,
        "num_train_interactions": int(train.interactions_matrix.nnz),
        "num_eval_users": len(result.users),
        "seconds": seconds,
        "loss": recoder.history[-1].loss,
        "ndcg": [result.mean[METRIC], result.stderr[METRIC]],
        "popular": [baseline.mean[METRIC], baseline.stderr[METRIC]],
        "difference": [paired.difference, paired.stderr],
    }


def reloaded(recoder: Recoder, other: Recoder, held_out: RecommendationDataset) -> Recoder:
    """Returns ``other`` after it took over the saved model, once it is known to do the same.

    Raises:
        ReloadError: if its scores or recommendations for the first users differ.
    """
    history, _ = held_out[:NUM_RELOADED]
    with tempfile.TemporaryDirectory() as folder:
        other.init_from_model_file(recoder.save_state(Path(folder) / "model"))
    if not torch.equal(recoder.predict(history), other.predict(history)):
        raise ReloadError("the reloaded model gives other scores than the saved one")
    if recoder.recommend(history, METRIC.k) != other.recommend(history, METRIC.k):
        raise ReloadError("the reloaded model recommends other items than the saved one")
    return other


def environment() -> dict[str, Any]:
    """Returns the machine and the versions that numbers depend on, as JSON values."""
    return {
        "processor": _processor(),
        "num_cores": len(os.sched_getaffinity(0)),
        "num_threads": torch.get_num_threads(),
        "python": platform.python_version(),
        **{name: version(name) for name in ("recsys-recoder", "torch", "numpy", "scipy")},
    }


def _split(run: Run, protocol: Protocol, interactions: Interactions) -> tuple[RecommendationDataset, Any]:
    if run.model != AUTOENCODER:
        train, held_out = random_holdout(interactions, seed=protocol.seed)
        return RecommendationDataset(train.matrix), held_out.dataset
    split = strong_generalization(
        interactions, num_valid_users=1, num_test_users=protocol.num_eval_users, seed=protocol.seed
    )
    return RecommendationDataset(split.train.matrix), split.test.dataset


def _make(run: Run, recipe: Recipe, protocol: Protocol) -> Recoder:
    loss_params = None if recipe.confidence is None else {"confidence": recipe.confidence}
    return Recoder(
        _model(run, recipe), optimizer_type="adam", loss=run.loss, loss_params=loss_params, seed=protocol.seed
    )


def _model(run: Run, recipe: Recipe) -> FactorizationModel:
    if run.model != AUTOENCODER:
        return MatrixFactorization(recipe.layers[0], sparse=run.is_sparse)
    return DynamicAutoencoder(
        recipe.layers, is_constrained=bool(run.is_tied), noise_prob=recipe.noise, sparse=run.is_sparse
    )


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())
