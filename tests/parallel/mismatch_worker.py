"""A process that is given other data than the others, or no seed."""

from __future__ import annotations

import os
import sys

import torch

from parallel.equality_worker import data, deep
from recoder.data import RecommendationDataset
from recoder.errors import ConfigError
from recoder.model import Recoder


def main(what: str) -> None:
    """Writes what came of it."""
    rank = int(os.environ["RANK"])
    matrix = data()[0].interactions_matrix
    torch.manual_seed(rank)  # each draws another seed, where it is asked for one
    recoder = Recoder(deep(), parallel="users", optimizer_type="adam", seed=rank if what == "seed" else None)
    try:
        recoder.train(RecommendationDataset(matrix[: 50 + rank * (what == "data")]))
    except ConfigError as error:
        sys.stdout.write(f"{error}\n")
    else:
        sys.stdout.write(f"{recoder.seed} {float(recoder.model.items.weight.sum())}\n")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(*sys.argv[1:])
