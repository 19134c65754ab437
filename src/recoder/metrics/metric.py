"""Metrics as objects that can name themselves and key a result, and as plain functions of two lists."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from recoder.metrics.hits import hits_of_list
from recoder.metrics.ranking import (
    BoolArray,
    FloatArray,
    IntArray,
    average_precision_at_k,
    checked_cutoff,
    dcg_at_k,
    ndcg_at_k,
    recall_at_k,
)

__all__ = [
    "NDCG",
    "AveragePrecision",
    "CutoffMetric",
    "Metric",
    "Recall",
    "average_precision",
    "dcg",
    "ndcg",
    "recall",
]


class Metric:
    """Base class of metrics: a subclass implements ``evaluate``.

    Two metrics are equal if their class, name and attributes are, so an equal one finds the values in a
    result. A subclass whose attributes cannot be compared by ``==``, such as arrays, overrides ``__eq__`` and
    ``__hash__``.

    Args:
        metric_name: what the metric is called in tables, and what finds it in a result.
    """

    def __init__(self, metric_name: str) -> None:
        self.metric_name = metric_name

    def evaluate(self, x: Sequence[Any], y: Sequence[Any]) -> float:
        """Returns the metric's value for one user.

        Args:
            x: the items recommended to the user, best first.
            y: the relevant items: those the user interacted with.
        """
        raise NotImplementedError(f"{type(self).__name__} does not implement evaluate(x, y)")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Metric) or type(self) is not type(other):
            return NotImplemented
        return self.metric_name == other.metric_name and vars(self) == vars(other)

    def __hash__(self) -> int:
        return hash((type(self), self.metric_name))

    def __repr__(self) -> str:
        return self.metric_name


class CutoffMetric(Metric):
    """Base class of metrics that follow from where the hits stand among the first ``k`` recommendations.

    A subclass implements ``from_hits``, for many users at once.

    Args:
        metric_name: as in ``Metric``.
        k: how many recommendations count, at least 1.

    Raises:
        ConfigError: if ``k`` is below 1.
    """

    def __init__(self, metric_name: str, k: int) -> None:
        super().__init__(metric_name)
        self.k = checked_cutoff(k)

    def from_hits(self, hits_BC: BoolArray, n_relevant_B: IntArray) -> FloatArray:
        """Returns each user's value, float64 ``[B]``; see ``recoder.metrics.ranking`` for the arguments."""
        raise NotImplementedError(f"{type(self).__name__} does not implement from_hits(hits_BC, n_relevant_B)")

    def evaluate(self, x: Sequence[Any], y: Sequence[Any]) -> float:
        """Returns the metric's value for one user; NaN if ``y`` is empty.

        Args:
            x: the items recommended to the user, best first; fewer than ``k`` are fine. A repeated item
                counts once, where it first stands, and its repeats take up ranks.
            y: the relevant items: those the user interacted with, in any order.
        """
        return float(self.from_hits(*hits_of_list(x, y, self.k))[0])


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
