"""Small files in the formats of the original ones, with interactions that are made up."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.papers.files import SETS, PaperSet
from benchmarks.synthetic import Shape, make_interactions

__all__ = ["SHAPE", "scaled_down", "write_stand_in"]

SHAPE = Shape(num_users=2_000, num_items=600, mean_interactions=40, num_tastes=12)


def scaled_down(paper_set: PaperSet, shape: Shape = SHAPE) -> PaperSet:
    """Returns the set with limits that fit a stand-in: a tenth of the users held out twice, items of few users."""
    few = min(paper_set.min_of_item, 5)
    return replace(paper_set, num_held_out=shape.num_users // 10, min_of_item=few, sizes=None)


def write_stand_in(name: str, folder: Path, shape: Shape = SHAPE) -> None:
    """Writes the files of a data set; nine of ten interactions are ratings that count."""
    folder.mkdir(parents=True, exist_ok=True)
    matrix = make_interactions(shape, seed=sorted(SETS).index(name)).tocoo()
    rng = np.random.default_rng(0)
    ratings = np.where(rng.random(matrix.nnz) < 0.9, rng.integers(4, 6, matrix.nnz), rng.integers(1, 4, matrix.nnz))
    _WRITERS[name](folder, matrix.row, matrix.col, ratings)


def _write_ml_20m(folder: Path, users: np.ndarray, items: np.ndarray, ratings: np.ndarray) -> None:
    order = np.lexsort((items, users))
    lines = ["userId,movieId,rating,timestamp"]
    for user, item, rating in zip(users[order] + 1, items[order] + 1, ratings[order], strict=True):
        lines.append(f"{user},{item},{rating}.0,1112486027")
    (folder / "ratings.csv").write_text("\n".join(lines) + "\n", encoding="ascii")


def _write_msd(folder: Path, users: np.ndarray, items: np.ndarray, ratings: np.ndarray) -> None:
    names = [f"{(user * 2654435761) % 2**32:08x}" for user in range(int(users.max()) + 1)]
    lines = [f"{names[user]}\tSO{item:06d}\t{rating}" for user, item, rating in zip(users, items, ratings, strict=True)]
    (folder / "train_triplets.txt").write_text("\n".join(lines) + "\n", encoding="ascii")


def _write_netflix(folder: Path, users: np.ndarray, items: np.ndarray, ratings: np.ndarray) -> None:
    num_items = int(items.max()) + 1
    for number, part in enumerate(np.array_split(np.arange(num_items), 4), start=1):
        lines = []
        for item in part:
            lines.append(f"{item + 1}:")
            of_item = np.flatnonzero(items == item)
            lines += [f"{users[at] + 6},{ratings[at]},2005-09-06" for at in of_item]
        (folder / f"combined_data_{number}.txt").write_text("\n".join(lines) + "\n", encoding="ascii")


_WRITERS: Mapping[str, Callable[[Path, np.ndarray, np.ndarray, np.ndarray], None]] = {
    "ml-20m": _write_ml_20m,
    "msd": _write_msd,
    "netflix": _write_netflix,
}
