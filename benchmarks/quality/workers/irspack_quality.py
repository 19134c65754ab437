"""irspack: implicit alternating least squares, and the dense closed form of EASE."""

import numpy as np
from cell import Rank, Task, in_blocks, serve_cells, top_unseen
from irspack import DenseSLIMRecommender, IALSRecommender
from scipy import sparse


def fit(task: Task, train: sparse.csr_matrix) -> Rank:
    """Trains the model that the task names."""
    if task["model"] == "ials":
        model = IALSRecommender(train, n_threads=task["threads"], random_seed=task["seed"], **task["settings"])
    else:
        model = DenseSLIMRecommender(train, **task["settings"])
    model.learn()

    def rank(users: np.ndarray, histories: sparse.csr_matrix) -> np.ndarray:
        return top_unseen(np.asarray(model.get_score_cold_user(histories)), histories, task["count"])

    return in_blocks(rank)


if __name__ == "__main__":
    serve_cells(fit, packages=("irspack", "numpy", "scipy"))
