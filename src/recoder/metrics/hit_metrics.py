"""Metrics of hits, as objects that key a result, and the documented ones as plain functions of two lists."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from recoder.metrics.hits import hits_of_list
from recoder.metrics.metric import CutoffMetric
from recoder.metrics.ranking import (
    BoolArray,
    FloatArray,
    IntArray,
    average_precision_at_k,
    checked_cutoff,
    dcg_at_k,
    hit_rate_at_k,
    ndcg_at_k,
    precision_at_k,
    r_precision_at_k,
    recall_at_k,
    reciprocal_rank_at_k,
)

__all__ = [
    "MRR",
    "NDCG",
    "AveragePrecision",
    "HitRate",
    "Precision",
    "RPrecision",
    "Recall",
    "average_precision",
    "dcg",
    "ndcg",
    "recall",
]


class Recall(CutoffMetric):
    """Recall: the share of the relevant items that stand among the first ``k`` recommendations.

    With R relevant items it is ``hits / min(k, R)`` (Liang et al. 2018, arXiv:1802.05814), or ``hits / R``.

    Args:
        k: the cut-off, at least 1.
        normalize: divide by ``min(k, R)``, so that a perfect list scores 1 even if it is shorter than R.

    Raises:
        ConfigError: if ``k`` is below 1.
    """

    def __init__(self, k: int, normalize: bool = True) -> None:
        super().__init__(f"Recall@{k}{_suffix(normalize)}", k)
        self.normalize = bool(normalize)

    def from_hits(self, hits_BC: BoolArray, n_relevant_B: IntArray) -> FloatArray:
        """Returns each user's recall, float64 ``[B]``; NaN without relevant items."""
        return recall_at_k(hits_BC, n_relevant_B, self.k, normalize=self.normalize)


class NDCG(CutoffMetric):
    """Normalized discounted cumulative gain: how near to the top the hits stand.

    A hit at rank r (0 = best) among the first ``k`` gains ``1 / log2(r + 2)``; the sum is divided by that of
    the ideal list, ``min(k, R)`` hits at the top (Järvelin & Kekäläinen 2002, ACM TOIS 20(4)).

    Args:
        k: the cut-off, at least 1.

    Raises:
        ConfigError: if ``k`` is below 1.
    """

    def __init__(self, k: int) -> None:
        super().__init__(f"NDCG@{k}", k)

    def from_hits(self, hits_BC: BoolArray, n_relevant_B: IntArray) -> FloatArray:
        """Returns each user's NDCG, float64 ``[B]``; NaN without relevant items."""
        return ndcg_at_k(hits_BC, n_relevant_B, self.k)


class AveragePrecision(CutoffMetric):
    """Average precision: the precision at each hit among the first ``k``, summed, over ``min(k, R)``.

    Source: Manning, Raghavan & Schütze 2008, "Introduction to Information Retrieval", section 8.4.

    Args:
        k: the cut-off, at least 1.
        normalize: divide by ``min(k, R)``, so that a perfect list scores 1, rather than by R.

    Raises:
        ConfigError: if ``k`` is below 1.
    """

    def __init__(self, k: int, normalize: bool = True) -> None:
        super().__init__(f"AP@{k}{_suffix(normalize)}", k)
        self.normalize = bool(normalize)

    def from_hits(self, hits_BC: BoolArray, n_relevant_B: IntArray) -> FloatArray:
        """Returns each user's average precision, float64 ``[B]``; NaN without relevant items."""
        return average_precision_at_k(hits_BC, n_relevant_B, self.k, normalize=self.normalize)


class Precision(CutoffMetric):
    """Precision: the share of hits among the first ``k`` recommendations, ``hits / k``.

    A list shorter than ``k`` is divided by ``k`` all the same: what it lacks counts as missed. Source: Manning,
    Raghavan & Schütze 2008, "Introduction to Information Retrieval", section 8.4.

    Args:
        k: the cut-off, at least 1.

    Raises:
        ConfigError: if ``k`` is below 1.
    """

    def __init__(self, k: int) -> None:
        super().__init__(f"Precision@{k}", k)

    def from_hits(self, hits_BC: BoolArray, n_relevant_B: IntArray) -> FloatArray:
        """Returns each user's precision, float64 ``[B]``; NaN without relevant items."""
        return precision_at_k(hits_BC, n_relevant_B, self.k)


class RPrecision(CutoffMetric):
    """R-precision: the precision at a cut-off of each user's own, the number R of relevant items.

    It is ``hits / min(k, R)`` among the first ``min(k, R)`` recommendations, and so needs no more than ``k`` of
    them; with ``k`` at least the largest R it is R-precision as it stands in Manning, Raghavan & Schütze 2008,
    "Introduction to Information Retrieval", section 8.4. What a shorter list lacks counts as missed.

    Args:
        k: the largest cut-off, at least 1.

    Raises:
        ConfigError: if ``k`` is below 1.
    """

    def __init__(self, k: int) -> None:
        super().__init__(f"RPrecision@{k}", k)

    def from_hits(self, hits_BC: BoolArray, n_relevant_B: IntArray) -> FloatArray:
        """Returns each user's R-precision, float64 ``[B]``; NaN without relevant items."""
        return r_precision_at_k(hits_BC, n_relevant_B, self.k)


class HitRate(CutoffMetric):
    """Hit rate: 1 for a user with a hit among the first ``k`` recommendations, else 0; the mean is the rate.

    Source: Deshpande & Karypis 2004, "Item-based top-N recommendation algorithms", ACM TOIS 22(1).

    Args:
        k: the cut-off, at least 1.

    Raises:
        ConfigError: if ``k`` is below 1.
    """

    def __init__(self, k: int) -> None:
        super().__init__(f"HitRate@{k}", k)

    def from_hits(self, hits_BC: BoolArray, n_relevant_B: IntArray) -> FloatArray:
        """Returns 1 or 0 for each user, float64 ``[B]``; NaN without relevant items."""
        return hit_rate_at_k(hits_BC, n_relevant_B, self.k)


class MRR(CutoffMetric):
    """Mean reciprocal rank: ``1 / r`` for a user whose first hit is the ``r``-th of the first ``k``, else 0.

    The value of a user is the reciprocal rank, and the mean over users has the name. Source: Voorhees 1999,
    "The TREC-8 question answering track report".

    Args:
        k: the cut-off, at least 1.

    Raises:
        ConfigError: if ``k`` is below 1.
    """

    def __init__(self, k: int) -> None:
        super().__init__(f"MRR@{k}", k)

    def from_hits(self, hits_BC: BoolArray, n_relevant_B: IntArray) -> FloatArray:
        """Returns each user's reciprocal rank, float64 ``[B]``; NaN without relevant items."""
        return reciprocal_rank_at_k(hits_BC, n_relevant_B, self.k)


def recall(x: Sequence[Any], y: Sequence[Any], k: int, normalize: bool = True) -> float:
    """Returns the recall of the first ``k`` of ``x`` against the relevant items ``y``; see ``Recall``."""
    return Recall(k, normalize).evaluate(x, y)


def average_precision(x: Sequence[Any], y: Sequence[Any], k: int, normalize: bool = True) -> float:
    """Returns the average precision of the first ``k`` of ``x`` against ``y``; see ``AveragePrecision``."""
    return AveragePrecision(k, normalize).evaluate(x, y)


def ndcg(x: Sequence[Any], y: Sequence[Any], k: int) -> float:
    """Returns the NDCG of the first ``k`` of ``x`` against the relevant items ``y``; see ``NDCG``."""
    return NDCG(k).evaluate(x, y)


def dcg(x: Sequence[Any], y: Sequence[Any], k: int) -> float:
    """Returns the discounted cumulative gain of the first ``k`` of ``x``: the numerator of ``ndcg``.

    It is a sum over hits, so it is 0, not NaN, if ``y`` is empty.

    Raises:
        ConfigError: if ``k`` is below 1.
    """
    cutoff = checked_cutoff(k)
    hits, _ = hits_of_list(x, y, cutoff)
    return float(dcg_at_k(hits, cutoff)[0])


def _suffix(normalize: bool) -> str:
    return "" if normalize else "(normalize=False)"
