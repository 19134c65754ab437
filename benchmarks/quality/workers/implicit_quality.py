"""implicit: alternating least squares, and Bayesian personalized ranking."""

import implicit.als
import implicit.bpr
import numpy as np
from cell import Rank, Task, in_blocks, serve_cells, top_unseen
from implicit.nearest_neighbours import bm25_weight
from scipy import sparse


def fit(task: Task, train: sparse.csr_matrix) -> Rank:
    """Trains the model that the task names."""
    return {"als": fit_als, "bpr": fit_bpr}[task["model"]](task, train)


def fit_als(task: Task, train: sparse.csr_matrix) -> Rank:
    """Alternating least squares; with ``bm25`` on weighted interactions, as in implicit's tutorial."""
    settings = dict(task["settings"])
    is_weighted = settings.pop("bm25", False)
    model = implicit.als.AlternatingLeastSquares(
        **settings, num_threads=task["threads"], random_state=task["seed"], use_gpu=False
    )
    model.fit(_weighted(train) if is_weighted else train, show_progress=False)

    def rank(users: np.ndarray, histories: sparse.csr_matrix) -> np.ndarray:
        if is_weighted:
            # items are weighted by what training and these histories say of them, as if both had been there
            histories = _weighted(sparse.vstack([train, histories], format="csr"))[train.shape[0] :]
        ids, scores = model.recommend(
            np.arange(len(users)),
            histories,
            N=min(task["count"], train.shape[1]),
            filter_already_liked_items=True,
            recalculate_user=True,
        )
        # what is filtered stands at the end, with the lowest number there is
        return np.where(scores > np.finfo(np.float32).min, ids, -1)

    return rank


def fit_bpr(task: Task, train: sparse.csr_matrix) -> Rank:
    """Bayesian personalized ranking. It cannot fold users in: they get the mean of the factors of their items."""
    model = implicit.bpr.BayesianPersonalizedRanking(
        **task["settings"], num_threads=task["threads"], random_state=task["seed"], use_gpu=False
    )
    model.fit(train, show_progress=False)

    def rank(users: np.ndarray, histories: sparse.csr_matrix) -> np.ndarray:
        factors_BD = (histories @ model.item_factors) / np.maximum(np.diff(histories.indptr), 1)[:, None]
        factors_BD[:, -1] = 1  # the last factor of an item is its bias, that of a user 1
        return top_unseen(factors_BD @ model.item_factors.T, histories, task["count"])

    return in_blocks(rank)


def _weighted(matrix: sparse.csr_matrix) -> sparse.csr_matrix:
    return bm25_weight(matrix, K1=100, B=0.8).tocsr()


if __name__ == "__main__":
    serve_cells(fit, packages=("implicit", "numpy", "scipy"))
