"""Ranking metrics of many users at once, as functions of where the hits stand.

Sizes: B users, K cut-off, C ranks that are given (fewer than K where the lists are short; more are ignored).
``hits_BC[u, r]`` is true if the item at rank ``r`` (0 = best) of user ``u`` is relevant, at most once for
each relevant item. ``n_relevant_B`` counts the relevant items of each user, before any cut-off.
"""

from __future__ import annotations

import operator
from typing import SupportsIndex

import numpy as np
import numpy.typing as npt

from recoder.errors import ConfigError, DataTypeError, ShapeError

__all__ = [
    "BoolArray",
    "FloatArray",
    "IntArray",
    "average_precision_at_k",
    "checked_cutoff",
    "dcg_at_k",
    "ndcg_at_k",
    "recall_at_k",
]

BoolArray = npt.NDArray[np.bool_]
FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


def checked_cutoff(k: SupportsIndex) -> int:
    """Returns ``k`` as a Python int.

    Raises:
        DataTypeError: if it is not an integer.
        ConfigError: if it is below 1.
    """
    try:
        cutoff = operator.index(k)
    except TypeError:
        raise DataTypeError(f"k is {k!r}; the cut-off of a metric is an integer") from None
    if cutoff < 1:
        raise ConfigError(f"k is {cutoff}; the cut-off of a metric is at least 1")
    return cutoff


def recall_at_k(hits_BC: BoolArray, n_relevant_B: IntArray, k: int, *, normalize: bool = True) -> FloatArray:
    """Returns how much of what is relevant stands in the first ``k``: ``hits / min(k, R)``, R relevant items.

    Args:
        hits_BC: see the module.
        n_relevant_B: see the module.
        k: the cut-off.
        normalize: divide by ``min(k, R)``, so that a perfect list scores 1 (Liang et al. 2018,
            arXiv:1802.05814, section 4.2), rather than by R.

    Returns:
        float64 ``[B]`` in [0, 1]; NaN where R is 0, so that the caller decides how to count those users.

    Raises:
        ShapeError: if the first dimensions differ.
    """
    _check_users(hits_BC, n_relevant_B)
    found_B: FloatArray = hits_BC[:, :k].sum(axis=1, dtype=np.float64)
    return found_B / _most_that_count(n_relevant_B, k, normalize=normalize)


def average_precision_at_k(hits_BC: BoolArray, n_relevant_B: IntArray, k: int, *, normalize: bool = True) -> FloatArray:
    """Returns the precision at each hit among the first ``k``, added up and divided by ``min(k, R)``.

    Precision at a rank is the share of hits down to that rank; average precision is described in Manning,
    Raghavan & Schütze 2008, "Introduction to Information Retrieval", section 8.4.

    Args:
        hits_BC: see the module.
        n_relevant_B: see the module.
        k: the cut-off.
        normalize: divide by ``min(k, R)``, so that a perfect list scores 1, rather than by R.

    Returns:
        float64 ``[B]`` in [0, 1]; NaN where R is 0.

    Raises:
        ShapeError: if the first dimensions differ.
    """
    _check_users(hits_BC, n_relevant_B)
    hits_BK = hits_BC[:, :k]
    found_BK = hits_BK.cumsum(axis=1)
    users, ranks = hits_BK.nonzero()
    precision = found_BK[users, ranks] / (ranks + 1)
    return _sums(users, precision, len(hits_BK)) / _most_that_count(n_relevant_B, k, normalize=normalize)


def dcg_at_k(hits_BC: BoolArray, k: int) -> FloatArray:
    """Returns the discounted cumulative gain: ``1 / log2(rank + 2)`` summed over the hits in the first ``k``.

    Järvelin & Kekäläinen 2002, "Cumulated gain-based evaluation of IR techniques", ACM TOIS 20(4), with a
    gain of 1 for a relevant item and the smooth discount, which applies from the second rank on.

    Returns:
        float64 ``[B]``, at least 0; 0 where there are no hits.
    """
    users, ranks = hits_BC[:, :k].nonzero()
    return _sums(users, _discounts(k)[ranks], len(hits_BC))


def ndcg_at_k(hits_BC: BoolArray, n_relevant_B: IntArray, k: int) -> FloatArray:
    """Returns the discounted cumulative gain over that of the ideal list: ``min(k, R)`` hits at the top.

    Järvelin & Kekäläinen 2002, as ``dcg_at_k``; the form for implicit feedback of Liang et al. 2018,
    arXiv:1802.05814, section 4.2.

    Returns:
        float64 ``[B]`` in [0, 1]; NaN where R is 0.

    Raises:
        ShapeError: if the first dimensions differ.
    """
    _check_users(hits_BC, n_relevant_B)
    # entry R is the ideal of R items; added up in the order of _sums, so a perfect list scores exactly 1
    ideal = np.concatenate([[np.nan], _discounts(k).cumsum()])
    ideal_B: FloatArray = ideal[np.minimum(n_relevant_B, k)]
    return dcg_at_k(hits_BC, k) / ideal_B


def _check_users(hits_BC: BoolArray, n_relevant_B: IntArray) -> None:
    if hits_BC.ndim != 2 or n_relevant_B.shape != hits_BC.shape[:1]:
        raise ShapeError(
            f"hits has shape {hits_BC.shape} but n_relevant has {n_relevant_B.shape}; "
            "pass a row of hits and a number of relevant items for each user"
        )


def _most_that_count(n_relevant_B: IntArray, k: int, *, normalize: bool) -> FloatArray:
    """Returns ``min(k, R)`` or R; NaN where R is 0."""
    limit_B = np.minimum(n_relevant_B, k) if normalize else n_relevant_B
    return np.where(n_relevant_B > 0, limit_B, np.nan)


def _discounts(k: int) -> FloatArray:
    discounts_K: FloatArray = 1.0 / np.log2(np.arange(2, k + 2))
    return discounts_K


def _sums(users: npt.NDArray[np.intp], terms: FloatArray, num_users: int) -> FloatArray:
    """Returns each user's sum of terms, added one after the other from the best rank down.

    So it depends neither on the other users of the batch nor on how many ranks follow the last hit.
    """
    # without any terms bincount forgets the weights and counts in integers
    return np.bincount(users, weights=terms, minlength=num_users).astype(np.float64)
