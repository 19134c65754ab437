"""Beyond accuracy, of all lists together: how much of the catalogue is shown, and how evenly.

Sizes: N items of the catalogue.
"""

from __future__ import annotations

import math

import numpy as np

from recoder.metrics.metric import CatalogueMetric
from recoder.metrics.ranking import IntArray

__all__ = ["Coverage", "Gini"]


class Coverage(CatalogueMetric):
    """Catalogue coverage: the share of the N items that stand among somebody's first ``k`` recommendations.

    Source: Ge, Delgado-Battenfeld & Jannach 2010, "Beyond accuracy: evaluating recommender systems by coverage and
    serendipity", RecSys. It grows with the number of users, so compare it over the same ones. A short list shows
    what it holds.

    Args:
        k: the cut-off, at least 1.

    Raises:
        ConfigError: if ``k`` is below 1.
    """

    def __init__(self, k: int) -> None:
        super().__init__(f"Coverage@{k}", k)

    def from_counts(self, counts_N: IntArray) -> float:
        """Returns the share of the counts that are not 0."""
        return np.count_nonzero(counts_N) / len(counts_N)


class Gini(CatalogueMetric):
    """Gini index of exposure: how unevenly the first ``k`` recommendations of all users fall on the N items.

    With ``c_1 <= ... <= c_N`` the number of lists that each item stands in, it is ``sum over j of (2 j - N - 1) c_j``
    over ``(N - 1) sum of c_j``: 0 if all items are recommended equally often, 1 if always the same one is (Shani &
    Gunawardana 2011, "Evaluating recommendation systems", in the Recommender Systems Handbook). Some libraries
    divide by N, not N - 1. Items that are never recommended count; a short list counts for what it holds; where all
    lists are empty it is NaN.

    Args:
        k: the cut-off, at least 1.

    Raises:
        ConfigError: if ``k`` is below 1.
    """

    def __init__(self, k: int) -> None:
        super().__init__(f"Gini@{k}", k)

    def from_counts(self, counts_N: IntArray) -> float:
        """Returns the index of these counts."""
        num_items, total = len(counts_N), int(counts_N.sum())
        if not total:
            return math.nan
        if num_items == 1:
            return 0.0
        weights_N = 2 * np.arange(1, num_items + 1) - num_items - 1
        return int(weights_N @ np.sort(counts_N)) / ((num_items - 1) * total)
