from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recoder.metrics import Coverage, Gini

COUNTS = st.lists(st.integers(0, 9), min_size=1, max_size=12).map(np.array)


def mean_absolute_difference_gini(counts: np.ndarray) -> float:
    """The index by its other definition: half the mean difference of two different items, over the mean."""
    size = len(counts)
    return float(np.abs(counts[:, None] - counts).sum() / (size * (size - 1)) / (2 * counts.mean()))


@given(COUNTS)
def test_coverage_is_the_share_of_items_that_are_shown(counts):
    assert Coverage(5).from_counts(counts) == sum(count > 0 for count in counts.tolist()) / len(counts)


@given(COUNTS)
def test_gini_equals_the_mean_absolute_difference(counts):
    if counts.any() and len(counts) > 1:
        assert Gini(5).from_counts(counts) == pytest.approx(mean_absolute_difference_gini(counts), rel=1e-12, abs=1e-15)


@given(COUNTS, st.randoms())
def test_order_of_the_items_does_not_matter(counts, random):
    shuffled = np.array(random.sample(counts.tolist(), len(counts)))
    for metric in (Coverage(5), Gini(5)):
        np.testing.assert_equal(metric.from_counts(shuffled), metric.from_counts(counts))


def test_gini_is_zero_for_equal_exposure_and_one_for_a_single_item():
    assert Gini(5).from_counts(np.full(7, 3)) == 0
    assert Gini(5).from_counts(np.array([0, 0, 12, 0])) == 1
    assert Gini(5).from_counts(np.array([3])) == 0


def test_nothing_recommended_covers_nothing_and_has_no_gini():
    assert Coverage(5).from_counts(np.zeros(4, int)) == 0
    assert math.isnan(Gini(5).from_counts(np.zeros(4, int)))
