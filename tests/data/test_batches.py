from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from recoder.data import Batch, BatchCollator, RecommendationDataset, UsersInteractions
from recoder.data.batches import _unique, full_batch
from recoder.errors import ConfigError, DataTypeError, ShapeError, UnknownIdError


def random_interactions(num_users, num_items, density, seed=0):
    matrix = sparse.random(num_users, num_items, density, "csr", np.float32, np.random.default_rng(seed))
    return UsersInteractions(np.arange(num_users)[::-1] + 100, matrix)


def dense_of(batch):
    dense = torch.zeros(tuple(batch.size))
    dense[batch.indices[0], batch.indices[1]] = batch.values
    return dense.numpy()


@given(
    num_users=st.integers(1, 9),
    num_items=st.integers(1, 12),
    density=st.sampled_from([0.0, 0.2, 1.0]),
    batch_size=st.integers(1, 10),
    negative_sampling=st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_batches_are_the_slices_of_the_dense_matrix(num_users, num_items, density, batch_size, negative_sampling):
    interactions = random_interactions(num_users, num_items, density)
    dense = interactions.interactions_matrix.toarray()
    batches = BatchCollator(batch_size, negative_sampling).collate(interactions)
    assert len(batches) == -(-num_users // batch_size)
    for number, batch in enumerate(batches):
        rows = slice(number * batch_size, (number + 1) * batch_size)
        cols = np.flatnonzero(dense.any(axis=0)) if negative_sampling else slice(None)
        np.testing.assert_array_equal(batch.users.numpy(), interactions.users[rows])
        np.testing.assert_array_equal(dense_of(batch), dense[rows][:, cols])
        np.testing.assert_array_equal(batch.rows.to_dense().numpy(), dense[rows][:, cols])
        assert len(batch) == batch.size[0] == len(batch.users)
        assert batch.indices.dtype == torch.int64
        assert batch.values.dtype == torch.float32


def test_candidates_are_the_items_of_the_super_batch_and_every_batch_has_them():
    interactions = random_interactions(10, 50, 0.05, seed=3)
    batches = BatchCollator(3, negative_sampling=True).collate(interactions)
    candidates = sorted(set(interactions.interactions_matrix.indices.tolist()))
    assert 1 < len(candidates) < 50
    for batch in batches:
        assert batch.items.dtype == torch.int64
        assert batch.items.tolist() == candidates
        assert batch.size[1] == len(candidates)


@given(st.lists(st.integers(0, 20), max_size=30), st.sampled_from([21, 5000]))
@settings(max_examples=100, deadline=None)
def test_candidates_and_their_places_are_those_of_numpy_unique(ids, limit):
    ids = np.array(ids, dtype=np.int64)
    unique, places = _unique(ids.copy(), limit)
    expected, expected_places = np.unique(ids, return_inverse=True)
    np.testing.assert_array_equal(unique, expected)
    np.testing.assert_array_equal(places, expected_places)


def test_items_are_none_without_negative_sampling():
    (batch,) = BatchCollator(4).collate(random_interactions(4, 5, 0.5))
    assert batch.items is None
    assert tuple(batch.size) == (4, 5)


def test_no_users_give_no_batches_but_one_full_batch():
    nobody, _ = RecommendationDataset(sparse.csr_matrix(np.eye(3, dtype=np.float32)))[[]]
    assert BatchCollator(2, negative_sampling=True).collate(nobody) == []
    batch = full_batch(nobody)
    assert tuple(batch.size) == (0, 3)
    assert batch.rows.to_dense().shape == (0, 3)


def test_full_batch_holds_everyone_and_the_whole_catalogue():
    interactions = random_interactions(7, 5, 0.4)
    batch = full_batch(interactions)
    assert batch.items is None
    np.testing.assert_array_equal(dense_of(batch), interactions.interactions_matrix.toarray())


def test_super_batch_in_which_nobody_has_interactions_has_no_candidates():
    (batch,) = BatchCollator(2, True).collate(UsersInteractions([0, 1], sparse.csr_matrix((2, 5))))
    assert batch.items.tolist() == []
    assert tuple(batch.size) == (2, 0)
    assert batch.rows.to_dense().shape == (2, 0)


def test_documented_constructor_takes_indices_in_any_order():
    indices = torch.tensor([[2, 0, 2, 0], [1, 2, 0, 0]])
    values = torch.tensor([1.0, 2.0, 3.0, 4.0])
    batch = Batch(torch.arange(3), torch.tensor([4, 7, 9]), indices, values, torch.Size([3, 3]))
    expected = [[4, 0, 2], [0, 0, 0], [3, 1, 0]]
    assert batch.rows.to_dense().tolist() == expected
    assert batch.rows.offsets.tolist() == [0, 2, 2, 4]
    assert repr(batch) == "Batch(3 users, 3 items, 4 interactions)"


def test_rows_are_derived_once():
    batch = Batch(torch.arange(1), None, torch.tensor([[0], [1]]), torch.ones(1), torch.Size([1, 2]))
    assert batch.rows is batch.rows


def test_derived_rows_equal_those_the_collator_made():
    for made in BatchCollator(2, True).collate(random_interactions(5, 8, 0.3)):
        derived = Batch(made.users, made.items, made.indices, made.values, made.size)
        for name in ("offsets", "cols", "values"):
            assert torch.equal(getattr(made.rows, name), getattr(derived.rows, name))


@pytest.mark.parametrize("is_prepared", [False, True])
def test_batches_pickle(is_prepared):
    for batch in BatchCollator(2, True).collate(random_interactions(5, 8, 0.3)):
        if is_prepared:
            batch.rows.prepare()
        copy = pickle.loads(pickle.dumps(batch))
        for name in ("users", "items", "indices", "values"):
            assert torch.equal(getattr(copy, name), getattr(batch, name))
        assert copy.size == batch.size
        assert torch.equal(copy.rows.to_dense(), batch.rows.to_dense())


def test_moving_to_the_same_device_is_free():
    (batch,) = BatchCollator(5).collate(random_interactions(5, 8, 0.3))
    assert batch.to(torch.device("cpu")) is batch


def test_moving_moves_every_part():
    (batch,) = BatchCollator(5, True).collate(random_interactions(5, 8, 0.3))
    moved = batch.to(torch.device("meta"))
    parts = (moved.users, moved.items, moved.indices, moved.values, moved.rows.offsets, moved.rows.cols)
    assert {part.device.type for part in parts} == {"meta"}
    assert moved.size == batch.size


def test_batches_own_their_values():
    interactions = random_interactions(4, 6, 0.5)
    before = interactions.interactions_matrix.toarray()
    for batch in BatchCollator(2).collate(interactions):
        batch.values.mul_(10)
        batch.users.add_(1)
    np.testing.assert_array_equal(interactions.interactions_matrix.toarray(), before)
    np.testing.assert_array_equal(interactions.users, [103, 102, 101, 100])


def test_read_only_matrices_are_collated_without_a_warning():
    matrix = sparse.csr_matrix(np.eye(3, dtype=np.float32))
    for array in (matrix.data, matrix.indices, matrix.indptr):
        array.flags.writeable = False
    (batch,) = BatchCollator(3).collate(UsersInteractions([0, 1, 2], matrix))
    np.testing.assert_array_equal(dense_of(batch), np.eye(3))


@pytest.mark.parametrize("batch_size", [0, -1])
def test_batch_size_below_one_is_refused(batch_size):
    with pytest.raises(ConfigError, match=f"batch_size is {batch_size}"):
        BatchCollator(batch_size)


@pytest.mark.parametrize(
    ("indices", "words"),
    [
        ([[0, 2], [0, 1]], r"size \(2, 3\) has an interaction in row 2"),
        ([[-1, 0], [0, 1]], "in row -1"),
        ([[0, 1], [0, 3]], "in column 3"),
        ([[0, 1], [-5, 0]], "in column -5"),
    ],
)
def test_interactions_outside_a_batch_made_by_hand_are_an_error(indices, words):
    batch = Batch(torch.tensor([4, 9]), None, torch.tensor(indices), torch.ones(2), torch.Size([2, 3]))
    with pytest.raises(ShapeError, match=words):
        _ = batch.rows


def test_ids_of_a_batch_made_by_hand_may_have_another_dtype_or_layout():
    items, indices = torch.arange(6, dtype=torch.int32)[::2], torch.tensor([[0, 1], [2, 0]], dtype=torch.int32)
    batch = Batch(torch.tensor([4, 9]), items, indices, torch.ones(2), torch.Size([2, 3]))
    assert (batch.items.dtype, batch.items.tolist(), batch.items.is_contiguous()) == (torch.int64, [0, 2, 4], True)
    assert (batch.rows.cols.dtype, batch.rows.cols.tolist()) == (torch.int64, [2, 0])


def test_more_items_are_candidates_beside_those_of_the_users():
    interactions = random_interactions(7, 30, 0.1)
    mine = np.unique(interactions.interactions_matrix.indices)
    more = np.array([29, 3, 3, int(mine[0])])
    plain = BatchCollator(3, True).collate(interactions)
    wider = BatchCollator(3, True).collate(interactions, more_items=more)
    for few, many in zip(plain, wider, strict=True):
        assert many.items.tolist() == np.union1d(mine, more).tolist()
        assert tuple(many.size) == (len(few), len(many.items))
        expected = np.zeros((len(few), 30))
        expected[:, few.items] = dense_of(few)
        np.testing.assert_array_equal(dense_of(many), expected[:, many.items])


@pytest.mark.parametrize(
    ("more", "sampling", "error"),
    [
        (np.array([30]), True, UnknownIdError),
        (np.array([-1]), True, UnknownIdError),
        (np.array([1.0]), True, DataTypeError),
        (np.array([[1]]), True, DataTypeError),
        ([1], True, DataTypeError),
        (np.array([1]), False, ConfigError),
    ],
)
def test_more_items_that_cannot_be_candidates_are_refused(more, sampling, error):
    with pytest.raises(error, match="more_items"):
        BatchCollator(3, sampling).collate(random_interactions(7, 30, 0.3), more_items=more)
