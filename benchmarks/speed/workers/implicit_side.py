"""implicit: alternating least squares, to recommend with."""

import time
from typing import Any

import implicit.als
import numpy as np
from protocol import Measure, serve
from scipy import sparse
from threadpoolctl import threadpool_info


def prepare_recommend(task: dict[str, Any]) -> Measure:
    """``recommend`` for many users in one call."""
    matrix = sparse.load_npz(task["data"])
    model = implicit.als.AlternatingLeastSquares(
        factors=task["factors"], iterations=2, num_threads=task["threads"], random_state=0, use_gpu=False
    )
    model.fit(matrix, show_progress=False)
    users = np.random.default_rng(0).choice(matrix.shape[0], task["users"], replace=False)
    seen = matrix[users]
    pools = {pool["internal_api"]: pool["num_threads"] for pool in threadpool_info()}

    def measure() -> dict[str, Any]:
        started = time.perf_counter()
        model.recommend(users, seen, N=task["count"], filter_already_liked_items=True)
        return {"value": time.perf_counter() - started, "threads": {"implicit": model.num_threads, **pools}}

    measure()
    return measure


if __name__ == "__main__":
    serve({"recommend": prepare_recommend}, packages=("implicit", "numpy", "scipy"))
