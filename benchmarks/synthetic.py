"""Interactions that are made up, in the size and the shape of MovieLens 20M with ratings of at least 4.

The real set (Harper & Konstan 2015, ACM TiiS 5(4)), prepared as in Liang et al. 2018 (arXiv:1802.05814), has 116,677
users in training and 20,108 items. Here, too, few items have most of the interactions, users differ a thousandfold in
how many they have, and users of one taste like the same items.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import sparse

__all__ = ["ML20M_LIKE", "Shape", "make_interactions"]


@dataclass(frozen=True)
class Shape:
    """What is made.

    Attributes:
        num_users: rows.
        num_items: columns.
        mean_interactions: about how many interactions a user has.
        num_tastes: clusters of users.
    """

    num_users: int
    num_items: int
    mean_interactions: float = 60.0
    num_tastes: int = 64


ML20M_LIKE = Shape(num_users=116_677, num_items=20_108)

_SHARE_OF_TASTE = 0.7
_TASTE_SPREAD = 1.5  # of the log of an item's weight, from taste to taste
_ACTIVITY_SPREAD = 1.1  # of the log of a user's number of interactions


def make_interactions(shape: Shape = ML20M_LIKE, *, seed: int = 0) -> sparse.csr_matrix:
    """Returns ones as float32 CSR ``[num_users, num_items]``; the same for the same shape and seed."""
    rng = np.random.default_rng(seed)
    weights = (np.arange(shape.num_items) + 30.0) ** -1.1
    everyone = np.cumsum(weights)
    counts = _interactions_of_users(shape, rng)
    users = np.repeat(np.arange(shape.num_users), counts)
    items = _draw(everyone, len(users), rng)
    by_taste = rng.random(len(users)) < _SHARE_OF_TASTE
    taste_of_user = rng.integers(shape.num_tastes, size=shape.num_users)
    taste = np.where(by_taste, taste_of_user[users], -1)
    for number in range(shape.num_tastes):
        liked = np.cumsum(weights * rng.lognormal(sigma=_TASTE_SPREAD, size=shape.num_items))
        of_taste = np.flatnonzero(taste == number)
        items[of_taste] = _draw(liked, len(of_taste), rng)
    # popularity should not follow the item's number
    items = rng.permutation(shape.num_items)[items]
    matrix = sparse.csr_matrix(
        (np.ones(len(users), dtype=np.float32), (users, items)), shape=(shape.num_users, shape.num_items)
    )
    matrix.sum_duplicates()
    matrix.data[:] = 1
    return matrix


def _interactions_of_users(shape: Shape, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Returns how many items each user draws, some of them twice: at least 5, and at most a fifth of the catalogue."""
    drawn = rng.lognormal(sigma=_ACTIVITY_SPREAD, size=shape.num_users)
    # about a sixth of what is drawn are repeats, in this shape
    scaled = drawn / drawn.mean() * shape.mean_interactions * 1.2
    counts: npt.NDArray[np.int64] = np.clip(scaled, 5, shape.num_items / 5).astype(np.int64)
    return counts


def _draw(cumulative: npt.NDArray[np.float64], size: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    drawn: npt.NDArray[np.int64] = np.searchsorted(cumulative, rng.random(size) * cumulative[-1], side="right")
    return drawn
