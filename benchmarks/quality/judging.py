"""Judging ranked lists: the same code for every contestant."""

from __future__ import annotations

import hashlib
from functools import cache

import numpy as np
import numpy.typing as npt
from scipy import sparse

from benchmarks.speed.environments import Unavailable
from recoder.data import RecommendationDataset, UsersInteractions
from recoder.metrics import NDCG, EvaluationResult, Recall, RecommenderEvaluator
from recoder.metrics.hits import hits_of_rows
from recoder.recommender import Recommender

__all__ = ["MAIN_METRIC", "METRICS", "judged", "rules_of_judging"]

MAIN_METRIC = NDCG(k=100)
METRICS = (MAIN_METRIC, Recall(k=20), Recall(k=50))


class _Given(Recommender):
    """Recommends lists that are there already; a user's number is the row of the list."""

    def __init__(self, ranked_UK: npt.NDArray[np.int64]) -> None:
        self._ranked_UK = ranked_UK

    def ranked(self, users_hist: UsersInteractions) -> npt.NDArray[np.int64]:
        """Returns the users' rows."""
        return self._ranked_UK[users_hist.users]


def judged(ranked_UK: npt.NDArray[np.int64], held_out: RecommendationDataset) -> EvaluationResult:
    """Returns what the lists are worth.

    Args:
        ranked_UK: items recommended to each held-out user, best first; -1 where there is none.
        held_out: their histories, and what was to be found.

    Raises:
        Unavailable: if the lists are not of these users, or hold what the users have seen.
    """
    if len(ranked_UK) != len(held_out):
        raise Unavailable(f"{len(ranked_UK)} lists came back for {len(held_out)} users")
    if ranked_UK.max(initial=-1) >= held_out.num_items:
        raise Unavailable(f"item {ranked_UK.max()} was recommended, but there are {held_out.num_items}")
    seen = held_out.interactions_matrix
    is_seen = hits_of_rows(ranked_UK, seen.indptr.astype(np.int64), seen.indices.astype(np.int64), held_out.num_items)
    if is_seen.any():
        raise Unavailable(f"{is_seen.sum()} items were recommended to users who had seen them")
    return RecommenderEvaluator(_Given(ranked_UK), METRICS).evaluate(held_out, batch_size=len(held_out))


@cache
def rules_of_judging() -> str:
    """Returns a hash of what made-up lists are worth: where it is another, values of before are of other rules."""
    rng = np.random.default_rng(0)
    is_seen_UN = rng.random((50, 300)) < 0.05
    is_wanted_UN = (rng.random((50, 300)) < rng.uniform(0.02, 0.9, (50, 1))) & ~is_seen_UN
    lists_UK = np.argsort(rng.random((50, 300)) + is_seen_UN, axis=1)[:, :100]
    lists_UK[np.arange(100) >= rng.integers(1, 200, (50, 1))] = -1
    seen, wanted = (sparse.csr_matrix(part.astype(np.float32)) for part in (is_seen_UN, is_wanted_UN))
    result = judged(lists_UK, RecommendationDataset(seen, wanted))
    values = np.round(np.stack([result[metric] for metric in METRICS]), 9)
    return hashlib.sha256(values.tobytes()).hexdigest()[:16]
