"""The data sets of the benchmark, by name; each is made once, from a seed, and kept as a file."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import sparse

from benchmarks.synthetic import ML20M_LIKE, Shape, make_interactions

__all__ = ["FULL", "QUICK", "DataFolder", "Sizes", "grown"]


@dataclass(frozen=True)
class Sizes:
    """How large everything is.

    Attributes:
        shape: of the main data set.
        frame_rows: rows of the data frame.
        eval_users: users that are evaluated.
        ranked_users: users of one call to recommend.
        batch_size, large_batch_size, factors: of training.
        catalogues: numbers of items that costs are plotted against.
        candidates: items that a batch has there.
        batch_sizes, factor_counts: what costs are plotted against.
        steps: timed steps of a sample.
        warm_up: steps before them; with sparse gradients three times as many, so that most rows of the optimizer's
            state have been touched once.
        epochs: of the run on CUDA.
    """

    shape: Shape
    frame_rows: int
    eval_users: int
    ranked_users: int
    batch_size: int
    large_batch_size: int
    factors: int
    catalogues: tuple[int, ...]
    candidates: int
    batch_sizes: tuple[int, ...]
    factor_counts: tuple[int, ...]
    steps: int
    warm_up: int
    epochs: int


FULL = Sizes(
    shape=ML20M_LIKE,
    frame_rows=10_000_000,
    eval_users=5_000,
    ranked_users=10_000,
    batch_size=500,
    large_batch_size=4_000,
    factors=200,
    catalogues=(20_000, 200_000, 1_000_000),
    candidates=8_000,
    batch_sizes=(125, 250, 500, 1_000, 2_000, 4_000),
    factor_counts=(50, 100, 200, 400, 800),
    steps=10,
    warm_up=10,
    epochs=100,
)

QUICK = Sizes(
    shape=Shape(num_users=400, num_items=150, mean_interactions=12, num_tastes=4),
    frame_rows=1_000,
    eval_users=100,
    ranked_users=120,
    batch_size=40,
    large_batch_size=80,
    factors=8,
    catalogues=(150, 600),
    candidates=60,
    batch_sizes=(20, 40),
    factor_counts=(4, 8),
    steps=3,
    warm_up=1,
    epochs=2,
)


class DataFolder:
    """Makes the files of data sets when they are asked for.

    Args:
        folder: where to.
        sizes: how large they are; files of other sizes must not be there.
    """

    def __init__(self, folder: Path, sizes: Sizes) -> None:
        self._folder = folder
        self._sizes = sizes

    def path(self, name: str) -> Path:
        """Returns the file of a data set, which is made if it is missing.

        Args:
            name: ``"ml20m-like"``, its first users split in two as ``"eval-input"`` and ``"eval-target"``,
                ``"frame"``: as many interactions as a frame has rows; ``"grown-N"``: a catalogue of N items.
        """
        path = self._folder / f"{name}.npz"
        if not path.exists():
            print(f"making the data set {name}", file=sys.stderr, flush=True)
            self._folder.mkdir(parents=True, exist_ok=True)
            temporary = path.with_name(f".{name}.tmp.npz")
            sparse.save_npz(temporary, self._made(name), compressed=False)
            temporary.replace(path)
        return path

    def _made(self, name: str) -> sparse.csr_matrix:
        shape = self._sizes.shape
        if name == "ml20m-like":
            return make_interactions(shape)
        if name == "frame":
            # a user has about as many interactions whatever the number of users
            users = int(self._sizes.frame_rows / shape.mean_interactions * 1.1)
            return make_interactions(Shape(users, shape.num_items, shape.mean_interactions, shape.num_tastes))
        if name in ("eval-input", "eval-target"):
            inputs, targets = _split(
                sparse.csr_matrix(sparse.load_npz(self.path("ml20m-like"))), self._sizes.eval_users
            )
            return inputs if name == "eval-input" else targets
        if name.startswith("grown-"):
            return grown(int(name.removeprefix("grown-")), self._sizes.candidates, self._sizes.batch_size)
        raise KeyError(name)


def grown(num_items: int, candidates: int, batch_size: int, *, seed: int = 0) -> sparse.csr_matrix:
    """Returns interactions whose batches hold about ``candidates`` items, whatever the size of the catalogue.

    Any item can occur. How steeply popularity falls is chosen for the catalogue so that a batch's number of distinct
    items, and of interactions, stays the same.
    """
    rng = np.random.default_rng(seed)
    per_user = 60 if candidates > 1_000 else 12
    num_users = batch_size * 100
    ranks = np.arange(num_items) + 30.0
    low, high = 0.0, 4.0
    for _ in range(40):
        exponent = (low + high) / 2
        shares = ranks**-exponent / (ranks**-exponent).sum()
        distinct = -np.expm1(-shares * per_user * batch_size).sum()
        low, high = (exponent, high) if distinct > candidates else (low, exponent)
    cumulative = np.cumsum(shares)
    drawn = np.searchsorted(cumulative / cumulative[-1], rng.random(num_users * per_user), side="right")
    # popularity should not follow the item's number
    items = rng.permutation(num_items)[np.minimum(drawn, num_items - 1)]
    users = np.repeat(np.arange(num_users), per_user)
    matrix = sparse.csr_matrix((np.ones(len(items), dtype=np.float32), (users, items)), shape=(num_users, num_items))
    matrix.data[:] = 1
    return matrix


def _split(matrix: sparse.csr_matrix, num_users: int) -> tuple[sparse.csr_matrix, sparse.csr_matrix]:
    """Returns about 80 % of the interactions of the first users, and the rest; every user has some of both."""
    coo = matrix[: 2 * num_users].tocoo()
    held_out = np.random.default_rng(0).random(coo.nnz) < 0.2
    parts = [
        sparse.csr_matrix((coo.data[kept], (coo.row[kept], coo.col[kept])), shape=coo.shape)
        for kept in (~held_out, held_out)
    ]
    has_both = np.all([np.diff(part.indptr) > 0 for part in parts], axis=0)
    users = np.flatnonzero(has_both)[:num_users]
    return parts[0][users], parts[1][users]
