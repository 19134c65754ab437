from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from recoder.errors import DataError, DataTypeError, EmptyDataError, ShapeError, UnknownIdError
from recoder.metrics import AveragePopularity, IntraListDiversity, Novelty
from recoder.nn import MatrixFactorization

NUM_ITEMS = 9
POPULARITY = np.array([8, 0, 1, 4, 2, 0, 16, 3, 1])
EMBEDDINGS = np.random.default_rng(0).normal(size=(NUM_ITEMS, 4))
EMBEDDINGS[3] = 0
METRICS = [Novelty(4, POPULARITY), AveragePopularity(4, POPULARITY), IntraListDiversity(4, EMBEDDINGS)]


@st.composite
def lists(draw):
    """Draws lists of different items, some of them short or with gaps, as one array."""
    rows = draw(st.lists(st.permutations(range(NUM_ITEMS)), min_size=1, max_size=5))
    ranked = np.array(rows)[:, : draw(st.integers(0, 6))]
    gaps = np.array(draw(st.lists(st.booleans(), min_size=ranked.size, max_size=ranked.size)), dtype=bool)
    return np.where(gaps.reshape(ranked.shape), -1, ranked)


def mean_or_nan(values: list[float]) -> float:
    return sum(values) / len(values) if values else math.nan


def cosine(one: np.ndarray, other: np.ndarray) -> float:
    lengths = np.linalg.norm(one) * np.linalg.norm(other)
    return float(one @ other / lengths) if lengths else 0.0


@given(lists())
def test_values_equal_their_definitions_for_one_user_after_another(ranked):
    share = np.maximum(POPULARITY, 1) / POPULARITY.sum()
    rows = [[item for item in row if item >= 0] for row in ranked.tolist()]
    pairs = [list(itertools.combinations(row, 2)) for row in rows]
    expected = [
        [mean_or_nan([-math.log2(share[item]) for item in row]) for row in rows],
        [mean_or_nan([float(POPULARITY[item]) for item in row]) for row in rows],
        [mean_or_nan([1 - cosine(EMBEDDINGS[i], EMBEDDINGS[j]) for i, j in of_user]) for of_user in pairs],
    ]
    for metric, values in zip(METRICS, expected, strict=True):
        found = metric.from_lists(ranked)
        assert found.dtype == np.float64
        np.testing.assert_allclose(found, values, rtol=1e-12, atol=1e-12)


@given(lists(), st.integers(1, 200))
def test_value_of_a_user_does_not_depend_on_the_others_or_on_padding(ranked, padding):
    padded = np.pad(ranked, [(0, 0), (0, padding)], constant_values=-1)
    for metric in METRICS:
        together = metric.from_lists(ranked)
        alone = [metric.from_lists(ranked[[user]])[0] for user in range(len(ranked))]
        np.testing.assert_array_equal(together, alone)
        np.testing.assert_array_equal(together, metric.from_lists(padded))


def test_only_the_first_k_count():
    for metric in METRICS:
        assert metric.evaluate([2, 3, 4, 6], []) == metric.evaluate([2, 3, 4, 6, 0, 1], [])


def test_values_by_hand():
    assert Novelty(2, [4, 2, 1, 1]).evaluate([0, 3], []) == (1 + 3) / 2
    assert AveragePopularity(2, [4, 2, 1, 1]).evaluate([0, 3], []) == 2.5
    directions = [[2, 0], [0, 3], [-1, 0], [5, 0], [0, 0]]
    diversity = {
        pair: IntraListDiversity(2, directions).evaluate(pair, []) for pair in [(0, 1), (0, 2), (0, 3), (0, 4)]
    }
    assert diversity == {(0, 1): 1, (0, 2): 2, (0, 3): 0, (0, 4): 1}


def test_list_without_what_is_needed_does_not_count():
    assert all(math.isnan(metric.evaluate([], [])) for metric in METRICS)
    assert math.isnan(METRICS[2].evaluate([5], []))


def test_novelty_is_that_of_shares_whatever_the_unit():
    ranked = np.array([[0, 1, 2, 3]])
    whole, shares = Novelty(4, POPULARITY), Novelty(4, POPULARITY / POPULARITY.sum())
    np.testing.assert_allclose(whole.from_lists(ranked), shares.from_lists(ranked), rtol=1e-12)


def test_item_nobody_has_is_as_novel_as_the_rarest():
    metric = Novelty(1, [10, 0, 2])
    assert metric.evaluate([1], []) == metric.evaluate([2], []) == pytest.approx(math.log2(6))


def test_identical_embeddings_have_no_diversity_and_opposite_ones_two():
    same = np.tile(np.random.default_rng(1).normal(size=7), (50, 1))
    assert IntraListDiversity(50, same).evaluate(range(50), []) == pytest.approx(0, abs=1e-12)
    assert IntraListDiversity(2, [[0.3, 0.1], [-3, -1]]).evaluate([0, 1], []) == 2


def test_item_factors_of_a_model_serve_as_embeddings():
    model = MatrixFactorization(3)
    model.init_model(num_items=NUM_ITEMS, num_users=2)
    factors, _ = model.item_factors()
    assert factors.requires_grad
    metric = IntraListDiversity(4, factors)
    np.testing.assert_array_equal(metric.directions, IntraListDiversity(4, factors.detach().numpy()).directions)
    assert IntraListDiversity(4, factors.to(torch.bfloat16)).num_items == NUM_ITEMS


def test_callers_arrays_are_neither_changed_nor_shared():
    popularity, embeddings = np.array([1.0, 2.0]), np.array([[3.0, 4.0]])
    metrics = [AveragePopularity(1, popularity), IntraListDiversity(1, embeddings)]
    assert (popularity.tolist(), embeddings.tolist()) == ([1, 2], [[3, 4]])
    popularity[:] = embeddings[:] = 9
    assert metrics == [AveragePopularity(1, [1, 2]), IntraListDiversity(1, [[3, 4]])]


def test_item_that_the_metric_does_not_know_is_an_error():
    for metric in METRICS:
        with pytest.raises(UnknownIdError, match="item 9 is recommended, outside the metric's 9 items"):
            metric.evaluate([0, 9], [])


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Novelty(5, [1, -2]), DataError, "popularity holds -2"),
        (lambda: Novelty(5, [1, math.nan]), DataError, "popularity holds 1 values that are NaN"),
        (lambda: Novelty(5, [0, 0]), EmptyDataError, "popularity is 0 for every item"),
        (lambda: AveragePopularity(5, [[1, 2]]), ShapeError, r"\(1, 2\); pass a number for each item"),
        (lambda: AveragePopularity(5, []), ShapeError, r"\(0,\)"),
        (lambda: Novelty(5, ["a"]), DataTypeError, "real numbers"),
        (lambda: IntraListDiversity(5, [1, 2]), ShapeError, r"\(2,\); pass a vector for each item"),
        (lambda: IntraListDiversity(5, [[math.inf]]), DataError, "embeddings holds 1 values"),
        (lambda: IntraListDiversity(5, [[1j]]), DataTypeError, "complex"),
    ],
)
def test_arrays_that_cannot_be_are_errors(make, error, message):
    with pytest.raises(error, match=message):
        make()
