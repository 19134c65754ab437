"""What a metric is: an object that can name itself and key a result, and what it is computed from."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from recoder.errors import ConfigError
from recoder.metrics.hits import hits_of_list
from recoder.metrics.lists import list_as_row, without_repeats
from recoder.metrics.ranking import BoolArray, FloatArray, IntArray, checked_cutoff

__all__ = ["CatalogueMetric", "CutoffMetric", "ListMetric", "Metric", "MetricAtK", "list_length"]


class Metric:
    """Base class of metrics: a subclass implements ``evaluate``.

    Two metrics are equal if their class, name and attributes are, so an equal one finds the values in a
    result. Attributes may be numpy arrays; a subclass with others that ``==`` does not compare overrides
    ``__eq__`` and ``__hash__``.

    Args:
        metric_name: what the metric is called in tables, and what finds it in a result.
    """

    def __init__(self, metric_name: str) -> None:
        self.metric_name = metric_name

    def evaluate(self, x: Sequence[Any], y: Sequence[Any]) -> float:
        """Returns the metric's value for one user; NaN if the user does not count.

        Args:
            x: the items recommended to the user, best first.
            y: the relevant items: those the user interacted with.
        """
        raise NotImplementedError(f"{type(self).__name__} does not implement evaluate(x, y)")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Metric) or type(self) is not type(other):
            return NotImplemented
        mine, theirs = vars(self), vars(other)
        return mine.keys() == theirs.keys() and all(_are_equal(mine[name], theirs[name]) for name in mine)

    def __hash__(self) -> int:
        return hash((type(self), self.metric_name))

    def __repr__(self) -> str:
        return self.metric_name


def list_length(metrics: Iterable[Metric], asked_for: int | None, argument: str) -> int:
    """Returns how many items to recommend to each user: as asked for, or as many as the metrics look at.

    Args:
        metrics: at least one.
        asked_for: how many; None: it is for the metrics to say.
        argument: what the caller's argument for it is called.

    Raises:
        ConfigError: if a metric does not say how many it looks at, or looks beyond what was asked for.
    """
    longest = 1
    for metric in metrics:
        k = getattr(metric, "k", None)
        if asked_for is None and k is None:
            raise ConfigError(f"{metric} does not say how many recommendations it looks at; pass {argument}")
        if asked_for is not None and k is not None and k > asked_for:
            raise ConfigError(
                f"{metric} looks at {k} recommendations, but {argument} is {asked_for}; "
                f"ask for at least {k}, or lower k"
            )
        longest = max(longest, k or 1)
    return longest if asked_for is None else asked_for


class MetricAtK(Metric):
    """Base class of metrics that look at the first ``k`` recommendations, and so say how many they need.

    Args:
        metric_name: as in ``Metric``.
        k: how many recommendations count, at least 1.

    Raises:
        ConfigError: if ``k`` is below 1.
    """

    def __init__(self, metric_name: str, k: int) -> None:
        super().__init__(metric_name)
        self.k = checked_cutoff(k)


class CutoffMetric(MetricAtK):
    """Base class of metrics that follow from where the hits stand among the first ``k`` recommendations.

    A subclass implements ``from_hits``, for many users at once.

    Args:
        metric_name: as in ``Metric``.
        k: how many recommendations count, at least 1.

    Raises:
        ConfigError: if ``k`` is below 1.
    """

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


class ListMetric(MetricAtK):
    """Base class of metrics that follow from which items stand among a user's first ``k``, relevant or not.

    A subclass implements ``from_lists``, for many users at once.

    Args:
        metric_name: as in ``Metric``.
        k: how many recommendations count, at least 1.

    Attributes:
        num_items: the size of the catalogue that the metric knows of, as from an array with an entry for each
            item; an evaluation over another is an error. None: any.

    Raises:
        ConfigError: if ``k`` is below 1.
    """

    num_items: int | None = None

    def from_lists(self, ranked_BC: IntArray) -> FloatArray:
        """Returns each user's value, float64 ``[B]``; NaN for a user who does not count.

        Args:
            ranked_BC: int64 ``[B, C]``, C at most ``k``: catalogue indices, best first, none twice in a row;
                -1 at ranks without an item: behind the end of a short list, and where an item stood again.
        """
        raise NotImplementedError(f"{type(self).__name__} does not implement from_lists(ranked_BC)")

    def evaluate(self, x: Sequence[Any], y: Sequence[Any]) -> float:
        """Returns the metric's value for one user.

        Args:
            x: the items recommended to the user as catalogue indices, best first; fewer than ``k`` are fine. A
                repeated item counts once, where it first stands, and its repeats take up ranks.
            y: not looked at.
        """
        return float(self.from_lists(without_repeats(list_as_row(x, self.k)))[0])


class CatalogueMetric(MetricAtK):
    """Base class of metrics of all lists together: how often each item is recommended in the first ``k``.

    A subclass implements ``from_counts``. There is one number, none for each user; ``EvaluationResult.mean``
    holds it.

    Args:
        metric_name: as in ``Metric``.
        k: how many recommendations count, at least 1.

    Raises:
        ConfigError: if ``k`` is below 1.
    """

    def from_counts(self, counts_N: IntArray) -> float:
        """Returns the value.

        Args:
            counts_N: int64 ``[N]``: for each item of the catalogue, how many users have it among their first
                ``k``.
        """
        raise NotImplementedError(f"{type(self).__name__} does not implement from_counts(counts_N)")

    def evaluate(self, x: Sequence[Any], y: Sequence[Any]) -> float:
        """Raises a ``ConfigError``: one user's list has no value."""
        raise ConfigError(
            f"{self} is a number of all users' lists together; evaluate a recommender, or call from_counts"
        )


def _are_equal(one: Any, other: Any) -> bool:
    if isinstance(one, np.ndarray) or isinstance(other, np.ndarray):
        return one is other or np.array_equal(one, other)
    return bool(one == other)
