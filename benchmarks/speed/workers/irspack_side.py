"""irspack: iALS, to recommend with."""

import time
from typing import Any

import numpy as np
from irspack import IALSRecommender, IDMapper
from protocol import Measure, serve
from scipy import sparse


def prepare_recommend(task: dict[str, Any]) -> Measure:
    """Its call that recommends to many known users, those items left out that they have seen."""
    matrix = sparse.load_npz(task["data"])
    threads = task["threads"]
    model = IALSRecommender(matrix, n_components=task["factors"], train_epochs=1, n_threads=threads).learn()
    users = np.random.default_rng(0).choice(matrix.shape[0], task["users"], replace=False).tolist()
    mapper = IDMapper(list(range(matrix.shape[0])), list(range(matrix.shape[1])))

    def measure() -> dict[str, Any]:
        started = time.perf_counter()
        mapper.recommend_for_known_user_batch(model, users, cutoff=task["count"], n_threads=threads)
        return {"value": time.perf_counter() - started}

    measure()
    return measure


if __name__ == "__main__":
    serve({"recommend": prepare_recommend}, packages=("irspack", "numpy", "scipy"))
