"""irspack: the closed form of EDLAE."""

import numpy as np
from cell import Rank, Task, in_blocks, serve_cells, top_unseen
from irspack.recommenders.edlae import EDLAERecommender
from scipy import sparse


def fit(task: Task, train: sparse.csr_matrix) -> Rank:
    """Trains the model."""
    model = EDLAERecommender(train, **task["settings"])
    model.learn()

    def rank(users: np.ndarray, histories: sparse.csr_matrix) -> np.ndarray:
        return top_unseen(np.asarray(model.get_score_cold_user(histories)), histories, task["count"])

    # each call of scipy's product copies the weights, which are by columns
    return in_blocks(rank, size=3_000)


if __name__ == "__main__":
    serve_cells(fit, packages=("irspack", "numpy", "scipy"))
