"""A process that is given other data than the others, or no seed."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import torch

from parallel.equality_worker import data, deep
from recoder.data import RecommendationDataset
from recoder.errors import ConfigError
from recoder.model import Recoder
from recoder.training import Callback, EpochReport


class Ends(Callback):
    """Ends the run after the second epoch."""

    def __init__(self, event: str) -> None:
        setattr(self, event, self._end)

    def _end(self, report: EpochReport) -> None:
        report.is_last = report.is_last or report.epoch == 2


def main(what: str) -> None:
    """Writes what came of it."""
    rank = int(os.environ["RANK"])
    if what.startswith("on_"):
        ends_in_one_process(what, rank)
        return
    matrix = data()[0].interactions_matrix
    torch.manual_seed(rank)  # each draws another seed, where it is asked for one
    recoder = Recoder(deep(), parallel="users", optimizer_type="adam", seed=rank if what == "seed" else None)
    if what == "epoch":
        before = Recoder(deep(), optimizer_type="adam", seed=1)
        before.train(RecommendationDataset(matrix[:50]), num_epochs=1 + rank)
        with tempfile.TemporaryDirectory() as folder:
            recoder.init_from_model_file(before.save_state(f"{folder}/m"))
    try:
        recoder.train(
            RecommendationDataset(matrix[: 50 + rank * (what == "data")]),
            num_epochs=3,
            batch_size=10 + rank * (what == "batch"),
        )
    except ConfigError as error:
        sys.stdout.write(f"{error}\n")
    else:
        sys.stdout.write(f"{recoder.seed} {float(recoder.model.items.weight.sum())}\n")


def ends_in_one_process(event: str, rank: int) -> None:
    """Writes how many epochs there were, and whether the checkpoint of the last is there."""
    with tempfile.TemporaryDirectory() as folder:
        recoder = Recoder(deep(), parallel="users", optimizer_type="adam", loss="logistic", seed=1)
        recoder.train(
            data()[0],
            num_epochs=5,
            callbacks=[Ends(event)] if rank == 0 else [],
            model_checkpoint_prefix=f"{folder}/m",
        )
        sys.stdout.write(
            f"{len(recoder.history)} {[path.name for path in Path(folder).iterdir()] if rank == 0 else ''}\n"
        )


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(*sys.argv[1:])
