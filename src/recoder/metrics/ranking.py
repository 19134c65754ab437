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
    "hit_rate_at_k",
    "ndcg_at_k",
    "precision_at_k",
    "r_precision_at_k",
    "recall_at_k",
    "reciprocal_rank_at_k",
    "sums_of_users",
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
    return sums_of_users(users, precision, len(hits_BK)) / _most_that_count(n_relevant_B, k, normalize=normalize)


def dcg_at_k(hits_BC: BoolArray, k: int) -> FloatArray:
    """Returns the discounted cumulative gain: ``1 / log2(rank + 2)`` summed over the hits in the first ``k``.

    Järvelin & Kekäläinen 2002, "Cumulated gain-based evaluation of IR techniques", ACM TOIS 20(4), with a
    gain of 1 for a relevant item and the smooth discount, which applies from the second rank on.

    Returns:
        float64 ``[B]``, at least 0; 0 where there are no hits.
    """
    hits_BK = hits_BC[:, :k]
    users, ranks = hits_BK.nonzero()
    return sums_of_users(users, _discounts(hits_BK.shape[1])[ranks], len(hits_BC))


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
    cutoffs_B = np.minimum(n_relevant_B, k)
    # entry R is the ideal of R items; added up in the order of sums_of_users, so a perfect list scores exactly 1
    ideal = np.concatenate([[np.nan], _discounts(cutoffs_B.max(initial=0)).cumsum()])
    ideal_B: FloatArray = ideal[cutoffs_B]
    return dcg_at_k(hits_BC, k) / ideal_B


def precision_at_k(hits_BC: BoolArray, n_relevant_B: IntArray, k: int) -> FloatArray:
    """Returns the share of hits among the first ``k``: ``hits / k``, however short the list is.

    Manning, Raghavan & Schütze 2008, "Introduction to Information Retrieval", section 8.4: precision at k.

    Returns:
        float64 ``[B]`` in [0, 1]; NaN where R is 0.

    Raises:
        ShapeError: if the first dimensions differ.
    """
    _check_users(hits_BC, n_relevant_B)
    found_B: FloatArray = hits_BC[:, :k].sum(axis=1, dtype=np.float64)
    return _nan_without_relevant(found_B / k, n_relevant_B)


def r_precision_at_k(hits_BC: BoolArray, n_relevant_B: IntArray, k: int) -> FloatArray:
    """Returns the share of hits among the first ``c = min(k, R)``, a cut-off of each user's own: ``hits / c``.

    Manning, Raghavan & Schütze 2008, "Introduction to Information Retrieval", section 8.4: R-precision, for
    which ``k`` is at least R.

    Returns:
        float64 ``[B]`` in [0, 1]; NaN where R is 0.

    Raises:
        ShapeError: if the first dimensions differ.
    """
    _check_users(hits_BC, n_relevant_B)
    cutoffs_B = np.minimum(n_relevant_B, k)
    counts_BC = np.arange(hits_BC.shape[1]) < cutoffs_B[:, None]
    found_B: FloatArray = (hits_BC & counts_BC).sum(axis=1, dtype=np.float64)
    return found_B / _most_that_count(n_relevant_B, k, normalize=True)


def hit_rate_at_k(hits_BC: BoolArray, n_relevant_B: IntArray, k: int) -> FloatArray:
    """Returns 1 where there is a hit among the first ``k``, else 0.

    Deshpande & Karypis 2004, "Item-based top-N recommendation algorithms", ACM TOIS 22(1), where each user has
    one relevant item.

    Returns:
        float64 ``[B]``, each 0 or 1; NaN where R is 0.

    Raises:
        ShapeError: if the first dimensions differ.
    """
    _check_users(hits_BC, n_relevant_B)
    found_B: FloatArray = hits_BC[:, :k].sum(axis=1, dtype=np.float64)
    return _nan_without_relevant(np.minimum(found_B, 1), n_relevant_B)


def reciprocal_rank_at_k(hits_BC: BoolArray, n_relevant_B: IntArray, k: int) -> FloatArray:
    """Returns ``1 / (rank + 1)`` of the best hit among the first ``k`` (rank 0 = best), 0 where there is none.

    Voorhees 1999, "The TREC-8 question answering track report", Proceedings of TREC-8.

    Returns:
        float64 ``[B]`` in [0, 1]; NaN where R is 0.

    Raises:
        ShapeError: if the first dimensions differ.
    """
    _check_users(hits_BC, n_relevant_B)
    users, ranks = hits_BC[:, :k].nonzero()
    values_B = np.zeros(len(hits_BC))
    values_B[users[::-1]] = 1 / (ranks[::-1] + 1)  # the last one written is a user's best
    return _nan_without_relevant(values_B, n_relevant_B)


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


def _nan_without_relevant(values_B: FloatArray, n_relevant_B: IntArray) -> FloatArray:
    return np.where(n_relevant_B > 0, values_B, np.nan)


def _discounts(num_ranks: int) -> FloatArray:
    discounts: FloatArray = 1.0 / np.log2(np.arange(2, num_ranks + 2))
    return discounts


def sums_of_users(users: npt.NDArray[np.intp], terms: FloatArray, num_users: int) -> FloatArray:
    """Returns each user's sum of terms, added one after the other from the best rank down.

    So it depends neither on the other users of the batch nor on how many ranks follow the last hit.
    """
    # without any terms bincount forgets the weights and counts in integers
    return np.bincount(users, weights=terms, minlength=num_users).astype(np.float64)
