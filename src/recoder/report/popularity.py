"""Head, middle and tail of a catalogue, and the recommender that knows nothing but popularity.

Sizes: N items.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from recoder.metrics.ranking import IntArray
from recoder.nn import Popularity
from recoder.recommender.scoring import ModelScorer

__all__ = ["BUCKETS", "buckets", "most_popular"]

BUCKETS = ("head", "middle", "tail")

_OUTER_SHARE = 0.2


def buckets(item_counts_N: IntArray) -> npt.NDArray[np.int64]:
    """Returns the place in ``BUCKETS`` of each item: int64 ``[N]``.

    The head are the most popular items that together take up a fifth of the interactions, the tail the least popular
    that take up a fifth (Abdollahpouri, Burke & Mobasher 2019, arXiv:1901.07555).
    """
    order = np.argsort(-item_counts_N, kind="stable")
    before = np.cumsum(item_counts_N[order]) - item_counts_N[order]
    shares = before / max(1, item_counts_N.sum())
    places = np.empty(len(order), np.int64)
    # what the first item takes up may be all there is
    places[order] = np.where(shares < _OUTER_SHARE, 0, np.where(shares < 1 - _OUTER_SHARE, 1, 2))
    return places


def most_popular(item_counts_N: IntArray) -> ModelScorer:
    """Returns what recommends to everyone the items that most users of the training data have."""
    model = Popularity()
    model.counts = torch.from_numpy(item_counts_N).to(torch.float32)
    return ModelScorer(model, num_items=len(item_counts_N), num_users=None, device=torch.device("cpu"))
