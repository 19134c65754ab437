"""Our metrics against those of an independent library, on the same random rankings."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import polars as pl
import pytest
from scipy import sparse

from recoder.data.datasets import RecommendationDataset
from recoder.metrics import (
    MRR,
    NDCG,
    AveragePrecision,
    HitRate,
    Precision,
    Recall,
    RecommenderEvaluator,
    RPrecision,
    evaluate_frame,
)
from recoder.recommender.base import Recommender

NUM_USERS, NUM_ITEMS, NUM_RANKS = 60, 40, 20
CUTOFFS = (1, 5, 20)
SAME = {"ndcg": NDCG, "precision": Precision, "hit_rate": HitRate, "mrr": MRR}  # by ranx's name

RANX = """
import json, sys
import ranx

task = json.load(sys.stdin)
qrels, run = ranx.Qrels(task["qrels"]), ranx.Run(task["run"])
values = ranx.evaluate(qrels, run, task["metrics"], return_mean=False)
json.dump({metric: array.tolist() for metric, array in values.items()}, sys.stdout)
"""


class Fixed(Recommender):
    def __init__(self, lists: list[list[int]]) -> None:
        self.lists = lists

    def recommend(self, users_hist) -> list[list[int]]:
        return [self.lists[user] for user in users_hist.users]


def rankings() -> tuple[list[list[int]], np.ndarray]:
    """Returns lists of 1 to 20 items, and between 1 and 40 relevant items for each user."""
    generator = np.random.default_rng(7)
    lists = [
        generator.permutation(NUM_ITEMS)[: generator.integers(1, NUM_RANKS + 1)].tolist() for _ in range(NUM_USERS)
    ]
    relevant = generator.random((NUM_USERS, NUM_ITEMS)) < generator.random((NUM_USERS, 1))
    relevant[:, 0] |= ~relevant.any(axis=1)
    return lists, relevant


@pytest.fixture(scope="module")
def theirs() -> dict[str, list[float]]:
    lists, relevant = rankings()
    name = "u{:03d}".format  # ranx sorts users by name
    task = {
        "qrels": {name(u): {str(i): 1 for i in np.flatnonzero(row)} for u, row in enumerate(relevant)},
        "run": {name(u): {str(i): -float(r) for r, i in enumerate(items)} for u, items in enumerate(lists)},
        "metrics": [*(f"{metric}@{k}" for metric in (*SAME, "recall", "map") for k in CUTOFFS), "r-precision"],
    }
    # a process of its own: interpreted, ranx answers at once, where compiling it takes 20 s
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1"}
    command = [sys.executable, "-c", RANX]
    done = subprocess.run(
        command, input=json.dumps(task), env=environment, check=True, text=True, stdout=subprocess.PIPE
    )
    return json.loads(done.stdout)


def our_metrics():
    metrics = [kind(k) for kind in SAME.values() for k in CUTOFFS]
    for normalize in (True, False):
        metrics += [kind(k, normalize) for kind in (Recall, AveragePrecision) for k in CUTOFFS]
    return [*metrics, RPrecision(NUM_ITEMS)]


def from_recommender():
    lists, relevant = rankings()
    dataset = RecommendationDataset(
        sparse.csr_matrix((NUM_USERS, NUM_ITEMS)), sparse.csr_matrix(relevant.astype(np.float32))
    )
    return RecommenderEvaluator(Fixed(lists), our_metrics()).evaluate(dataset, batch_size=50)


def from_frames():
    lists, relevant = rankings()
    rows = [(user, item, -rank) for user, items in enumerate(lists) for rank, item in enumerate(items)]
    np.random.default_rng(1).shuffle(rows)
    users, items = np.nonzero(relevant)
    recommendations = pl.DataFrame(rows, schema=["user_id", "item_id", "score"], orient="row")
    test = pl.DataFrame({"user_id": users, "item_id": items})
    return evaluate_frame(recommendations, test, our_metrics(), score="score")


@pytest.fixture(scope="module", params=[from_recommender, from_frames])
def ours(request):
    return request.param()


@pytest.mark.parametrize("k", CUTOFFS)
@pytest.mark.parametrize("name", SAME)
def test_values_equal_ranx(ours, theirs, name, k):
    np.testing.assert_allclose(ours[SAME[name](k)], theirs[f"{name}@{k}"], rtol=1e-12)


def test_r_precision_equals_ranx_where_k_cuts_nobody_off(ours, theirs):
    np.testing.assert_allclose(ours[RPrecision(NUM_ITEMS)], theirs["r-precision"], rtol=1e-12)


@pytest.mark.parametrize("k", CUTOFFS)
@pytest.mark.parametrize(("kind", "name"), [(Recall, "recall"), (AveragePrecision, "map")])
def test_recall_and_average_precision_equal_ranx_up_to_the_normalization(ours, theirs, kind, name, k):
    n_relevant = rankings()[1].sum(axis=1)
    reference = np.array(theirs[f"{name}@{k}"])
    np.testing.assert_allclose(ours[kind(k, False)], reference, rtol=1e-12)
    np.testing.assert_allclose(ours[kind(k)], reference * n_relevant / np.minimum(k, n_relevant), rtol=1e-12)
