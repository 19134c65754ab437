from __future__ import annotations

import numpy as np
from benchmarks.synthetic import Shape, make_interactions

SHAPE = Shape(num_users=3_000, num_items=1_000, mean_interactions=30, num_tastes=8)


def test_the_same_shape_and_seed_give_the_same_matrix_and_another_seed_another() -> None:
    first, again, other = (make_interactions(SHAPE, seed=seed) for seed in (1, 1, 2))
    assert (first != again).nnz == 0
    assert (first != other).nnz > 0


def test_the_matrix_is_as_large_as_asked_and_holds_ones_without_repeats() -> None:
    matrix = make_interactions(SHAPE)
    assert matrix.shape == (SHAPE.num_users, SHAPE.num_items)
    assert matrix.dtype == np.float32
    assert set(matrix.data) == {1.0}
    assert matrix.nnz == len(set(zip(*matrix.nonzero(), strict=True)))
    assert 0.8 < matrix.nnz / SHAPE.num_users / SHAPE.mean_interactions < 1.2


def test_every_user_has_an_item_and_a_tenth_of_the_items_has_most_interactions() -> None:
    matrix = make_interactions(SHAPE)
    assert np.diff(matrix.indptr).min() > 0
    of_items = np.sort(np.bincount(matrix.indices, minlength=SHAPE.num_items))
    assert of_items[-100:].sum() > 0.4 * matrix.nnz


def test_popular_items_do_not_stand_together() -> None:
    of_items = np.bincount(make_interactions(SHAPE).indices, minlength=SHAPE.num_items)
    popular = np.argsort(of_items)[-100:]
    assert 0.3 < popular.mean() / SHAPE.num_items < 0.7


def test_users_of_one_taste_share_more_items_than_users_of_different_tastes() -> None:
    one, many = (make_interactions(Shape(400, 1_000, 30, tastes)) for tastes in (1, 400))

    def shared(matrix: np.ndarray) -> float:
        overlap = (matrix @ matrix.T).toarray()  # type: ignore[attr-defined]
        return float(overlap[np.triu_indices(len(overlap), 1)].mean())

    assert shared(one) > 1.5 * shared(many)
