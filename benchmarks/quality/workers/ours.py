"""This version of Recoder, by its recipes."""

import numpy as np
from cell import Rank, Task, serve_cells
from scipy import sparse

from recoder.data import RecommendationDataset, UsersInteractions
from recoder.ops.kernels import library
from recoder.recipes import recipe


def fit(task: Task, train: sparse.csr_matrix) -> Rank:
    """Trains a recipe."""
    chosen = recipe(task["model"]).but(**task["settings"])
    recoder = chosen.fit(RecommendationDataset(train), None, seed=task["seed"])

    def rank(users: np.ndarray, histories: sparse.csr_matrix) -> np.ndarray:
        return recoder.ranked(UsersInteractions(users, histories), task["count"])

    return rank


if __name__ == "__main__":
    serve_cells(
        fit,
        packages=("recsys-recoder", "torch", "numpy", "scipy"),
        more=lambda: {"kernels": "none" if library() is None else "compiled"},
    )
