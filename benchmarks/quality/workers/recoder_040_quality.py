"""recsys-recoder 0.4.0, with the settings of its manual."""

import numpy as np
import torch
from cell import Rank, Task, in_blocks, serve_cells
from recoder_040 import mend
from scipy import sparse

mend()

from recoder.data import RecommendationDataset, UsersInteractions  # noqa: E402
from recoder.model import Recoder  # noqa: E402
from recoder.nn import DynamicAutoencoder  # noqa: E402

MODEL = {"hidden_layers": [200], "activation_type": "tanh", "noise_prob": 0.5, "dropout_prob": 0.0}
TRAINING = {"lr": 1e-3, "weight_decay": 2e-5, "num_epochs": 100, "batch_size": 500}


def fit(task: Task, train: sparse.csr_matrix) -> Rank:
    """Trains the manual's autoencoder, some of its settings changed."""
    changed = task["settings"]
    torch.manual_seed(task["seed"])
    np.random.seed(task["seed"])  # noqa: NPY002  # what 0.4.0 draws from
    model = DynamicAutoencoder(**{name: changed.get(name, value) for name, value in MODEL.items()}, sparse=True)
    recoder = Recoder(model, optimizer_type="adam", loss=changed.get("loss", "logistic"))
    training = {name: changed.get(name, value) for name, value in TRAINING.items()}
    recoder.train(RecommendationDataset(train), negative_sampling=True, **training)

    def rank(users: np.ndarray, histories: sparse.csr_matrix) -> np.ndarray:
        lists = recoder.recommend(UsersInteractions(users=users, interactions_matrix=histories), task["count"])
        table = np.full((len(users), task["count"]), -1)
        for row, items in zip(table, lists, strict=True):
            row[: len(items)] = items
        return table

    return in_blocks(rank)


if __name__ == "__main__":
    serve_cells(fit, packages=("recsys-recoder", "torch", "numpy", "scipy"))
