"""A process that trains on interactions in files, and has its share of them in files."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import torch

from parallel.equality_worker import deep
from recoder.data import Interactions, RecommendationDataset
from recoder.data.mapped import folder_of, is_mapped
from recoder.model import Recoder


def run(folder: Path, parallel: str | None, *, in_memory: bool = False) -> tuple[list[float], list[list[int]]]:
    """Returns the losses of two epochs, and some recommendations."""
    matrix = Interactions.open_mapped(folder).matrix
    dataset = RecommendationDataset(matrix.copy() if in_memory else matrix)
    recoder = Recoder(deep(), optimizer_type="adam", loss="logistic", seed=1, parallel=parallel)
    history = recoder.train(dataset, num_epochs=2, batch_size=8, negative_sampling=True, lr=0.01)
    lists = recoder.recommend(dataset[:5][0], 3)
    if parallel is not None and recoder.model.parts.items is not None:
        share = dataset.of_items(recoder.model.parts.items.numpy()).interactions_matrix
        assert is_mapped(share)
        assert folder_of(share.indices) == folder
        np.testing.assert_array_equal(share.toarray(), matrix.toarray()[:, recoder.model.parts.items.numpy()])
    return [record.loss for record in history], [[int(item) for item in items] for items in lists]


if __name__ == "__main__":
    torch.set_num_threads(1)
    json.dump(run(Path(sys.argv[1]), "items"), sys.stdout)
