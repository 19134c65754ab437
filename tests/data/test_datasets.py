from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import sparse
from torch.utils.data import DataLoader, Dataset, Subset

from recoder.data import RecommendationDataset, UsersInteractions
from recoder.errors import DataError, DataTypeError, ShapeError

DENSE = np.array([[1, 0, 2], [0, 0, 0], [0, 3, 0], [4, 5, 6]], dtype=np.float32)
TARGET = np.array([[0, 1, 0], [1, 0, 0], [0, 0, 1], [0, 0, 0]], dtype=np.float32)


@pytest.fixture
def dataset():
    return RecommendationDataset(sparse.csr_matrix(DENSE), sparse.csr_matrix(TARGET))


INDICES = {
    "int": (2, [2]),
    "numpy int": (np.int64(2), [2]),
    "negative": (-1, [3]),
    "list": ([3, 0], [3, 0]),
    "repeats": ([1, 1], [1, 1]),
    "negative list": ([-4, 1], [0, 1]),
    "tuple": ((0, 2), [0, 2]),
    "range": (range(1, 3), [1, 2]),
    "numpy": (np.array([2, 1], dtype=np.int32), [2, 1]),
    "unsigned": (np.array([2, 1], dtype=np.uint8), [2, 1]),
    "tensor": (torch.tensor([0, 3]), [0, 3]),
    "slice": (slice(1, None), [1, 2, 3]),
    "reversed slice": (slice(None, None, -2), [3, 1]),
    "slice beyond the end": (slice(2, 100), [2, 3]),
    "empty list": ([], []),
    "empty slice": (slice(2, 2), []),
}


@pytest.mark.parametrize("kind", INDICES)
def test_indexing_gives_input_and_target_of_these_rows(dataset, kind):
    index, rows = INDICES[kind]
    interactions, target = dataset[index]
    for part, dense in ((interactions, DENSE), (target, TARGET)):
        assert isinstance(part, UsersInteractions)
        assert part.users.dtype == np.int64
        np.testing.assert_array_equal(part.users, rows)
        np.testing.assert_array_equal(part.interactions_matrix.toarray(), dense[rows])


def test_target_is_none_where_there_is_none():
    interactions, target = RecommendationDataset(sparse.csr_matrix(DENSE))[0]
    assert target is None
    assert len(interactions) == 1


@pytest.mark.parametrize("index", [4, -5, [0, 4], np.array([-5])])
def test_index_out_of_range_is_an_index_error(dataset, index):
    with pytest.raises(IndexError, match="4 users"):
        dataset[index]


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16])
def test_an_index_may_be_of_a_small_type(dtype):
    matrix = sparse.csr_matrix(np.arange(40_000, dtype=np.float32)[:, None] + 1)
    interactions, _ = RecommendationDataset(matrix)[np.array([0, 100, -1]).astype(dtype)]
    assert interactions.users.tolist() == [0, 100, 255 if dtype == np.uint8 else 39_999]


@pytest.mark.parametrize("index", [1.0, "0", [True, False, True, False], [[0, 1]], None])
def test_index_of_another_kind_is_a_type_error(dataset, index):
    with pytest.raises(DataTypeError, match="index a data set by"):
        dataset[index]


def test_iterating_visits_every_user_once_and_ends(dataset):
    assert [int(interactions.users[0]) for interactions, _ in dataset] == [0, 1, 2, 3]


def test_works_with_the_tools_of_torch(dataset):
    assert isinstance(dataset, Dataset)
    assert len(dataset) == 4
    subset = Subset(dataset, [3, 1])
    np.testing.assert_array_equal(subset[0][0].users, [3])
    loader = DataLoader(dataset, batch_size=3, collate_fn=lambda pairs: [int(x.users[0]) for x, _ in pairs])
    assert list(loader) == [[0, 1, 2], [3]]
    sampler = torch.utils.data.BatchSampler(range(4), batch_size=3, drop_last=False)
    whole = DataLoader(dataset, sampler=sampler, batch_size=None, collate_fn=lambda pair: pair[0].users.tolist())
    assert list(whole) == [[0, 1, 2], [3]]


def test_sizes_are_those_of_the_matrix(dataset):
    assert (dataset.num_users, dataset.num_items) == (4, 3)
    assert repr(dataset) == "RecommendationDataset(4 users, 3 items, 6 interactions, 3 target interactions)"


def test_target_of_another_shape_is_refused():
    with pytest.raises(ShapeError, match=r"\(4, 2\).*\(4, 3\)"):
        RecommendationDataset(sparse.csr_matrix(DENSE), sparse.csr_matrix(TARGET[:, :2]))


def test_bad_target_is_named():
    with pytest.raises(DataError, match="target_interactions_matrix holds 3 negative"):
        RecommendationDataset(sparse.csr_matrix(DENSE), sparse.csr_matrix(-TARGET))


def test_matrices_are_converted():
    dataset = RecommendationDataset(sparse.coo_matrix(DENSE.astype(int)), sparse.csc_matrix(TARGET.astype(bool)))
    for matrix, dense in ((dataset.interactions_matrix, DENSE), (dataset.target_interactions_matrix, TARGET)):
        assert (matrix.format, matrix.dtype) == ("csr", np.float32)
        np.testing.assert_array_equal(matrix.toarray(), dense)


def test_users_interactions_keep_what_they_are_given():
    part = UsersInteractions([7, 3], sparse.coo_matrix(DENSE[:2].astype(np.int16)))
    np.testing.assert_array_equal(part.users, [7, 3])
    assert part.users.dtype == np.int64
    assert part.interactions_matrix.dtype == np.float32
    assert len(part) == 2
    assert repr(part) == "UsersInteractions(2 users, 3 items, 2 interactions)"


def test_users_interactions_copy_the_users():
    users = np.array([0, 1])
    part = UsersInteractions(users, sparse.csr_matrix(DENSE[:2]))
    users[0] = 9
    np.testing.assert_array_equal(part.users, [0, 1])


@pytest.mark.parametrize(
    ("users", "error", "message"),
    [
        ([0, 1, 2], ShapeError, "2 rows"),
        ([[0, 1]], ShapeError, r"\(1, 2\)"),
        (5, ShapeError, "one user for each row"),
        ([0, -1], DataError, "negative id -1"),
        ([0.0, 1.0], DataTypeError, "float64"),
        (["a", "b"], DataTypeError, "map your own ids"),
        ([True, False], DataTypeError, "bool"),
    ],
)
def test_bad_users_are_refused(users, error, message):
    with pytest.raises(error, match=message):
        UsersInteractions(users, sparse.csr_matrix(DENSE[:2]))


def test_a_loop_over_users_interactions_gives_one_user_at_a_time():
    matrix = sparse.csr_matrix([[1.0, 0, 2], [0, 0, 0], [0, 3, 0]])
    users = UsersInteractions([5, 6, 7], matrix)
    parts = list(users)
    assert [part.users.tolist() for part in parts] == [[5], [6], [7]]
    assert [part.interactions_matrix.toarray().tolist() for part in parts] == matrix.toarray()[:, None].tolist()
    assert users[-1].users.tolist() == [7]
    with pytest.raises(IndexError, match="outside these 3 users"):
        users[3]


def test_widened_adds_items_without_interactions_and_copies_nothing():
    matrix = sparse.csr_matrix([[1.0, 0], [0, 2]])
    dataset = RecommendationDataset(matrix, matrix)
    wide = dataset.widened(4)
    for part in (wide.interactions_matrix, wide.target_interactions_matrix):
        assert part.toarray().tolist() == [[1, 0, 0, 0], [0, 2, 0, 0]]
    assert np.shares_memory(wide.interactions_matrix.data, dataset.interactions_matrix.data)
    assert dataset.widened(2) is dataset
    assert dataset.widened(1) is dataset
