from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from recoder.data.matrices import canonical_csr
from recoder.errors import DataError, DataTypeError, ShapeError

DENSE = np.array([[0, 2, 0, 1], [0, 0, 0, 0], [3, 0, 0, 5]], dtype=np.float32)


def raw_csr(data, indices, indptr, shape):
    """Index arrays exactly as given: scipy checks neither range nor order here."""
    return sparse.csr_matrix((np.asarray(data), np.asarray(indices), np.asarray(indptr)), shape=shape)


def is_canonical(matrix):
    fresh = sparse.csr_matrix(matrix)
    return fresh.has_canonical_format and matrix.dtype == np.float32 and bool((matrix.data != 0).all())


@pytest.mark.parametrize("make", [sparse.csr_matrix, sparse.csr_array], ids=["matrix", "array"])
@pytest.mark.parametrize("fmt", ["csr", "csc", "coo", "lil", "dok", "dia", "bsr"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int8, np.uint8, np.int64, np.uint64])
def test_every_format_and_dtype_becomes_float32_csr(make, fmt, dtype):
    result = canonical_csr(make(DENSE.astype(dtype)).asformat(fmt))
    assert isinstance(result, sparse.csr_matrix)
    assert is_canonical(result)
    np.testing.assert_array_equal(result.toarray(), DENSE)


def test_booleans_become_ones():
    result = canonical_csr(sparse.csr_matrix(DENSE != 0))
    np.testing.assert_array_equal(result.toarray(), (DENSE != 0).astype(np.float32))


def test_half_precision_is_accepted():
    matrix = raw_csr(np.array([1, 2], np.float16), [1, 0], [0, 2], (1, 2))
    np.testing.assert_array_equal(canonical_csr(matrix).toarray(), [[2, 1]])


def test_canonical_matrix_passes_without_a_copy():
    matrix = sparse.csr_matrix(DENSE)
    result = canonical_csr(matrix)
    assert np.shares_memory(result.data, matrix.data)
    assert np.shares_memory(result.indices, matrix.indices)


def test_unsorted_columns_are_sorted():
    result = canonical_csr(raw_csr(np.float32([1, 2, 3]), [2, 0, 1], [0, 3], (1, 3)))
    np.testing.assert_array_equal(result.indices, [0, 1, 2])
    np.testing.assert_array_equal(result.data, [2, 3, 1])


@pytest.mark.parametrize("fmt", ["csr", "csc", "coo"])
@pytest.mark.parametrize("dtype", [np.float32, np.int8, np.uint8, np.int64, bool])
def test_repeats_are_added_up_beyond_the_range_of_the_dtype(fmt, dtype):
    value = 1 if dtype is bool else 100
    data = np.array([value, value, value], dtype=dtype)
    if fmt == "coo":
        matrix = sparse.coo_matrix((data, ([0, 0, 0], [1, 1, 1])), shape=(1, 3))
    elif fmt == "csr":
        matrix = raw_csr(data, [1, 1, 1], [0, 3], (1, 3))
    else:
        matrix = sparse.csc_matrix((data, np.zeros(3, int), np.array([0, 0, 3, 3])), shape=(1, 3))
    np.testing.assert_array_equal(canonical_csr(matrix).toarray(), [[0, 3 * value, 0]])


def test_stored_zeros_are_dropped():
    result = canonical_csr(raw_csr(np.float32([0, 2, 0]), [0, 1, 2], [0, 3], (1, 3)))
    assert result.nnz == 1


MESSY = {
    "unsorted": lambda: raw_csr(np.float32([1, 2, 3]), [2, 0, 1], [0, 3], (1, 3)),
    "repeats": lambda: raw_csr(np.float32([1, 2, 3]), [2, 0, 0], [0, 3], (1, 3)),
    "stored zeros": lambda: raw_csr(np.float32([0, 2, 3]), [0, 1, 2], [0, 3], (1, 3)),
    "spare room": lambda: raw_csr(np.float32([1, 2, 3, 9, 9]), [2, 0, 0, 7, 7], [0, 3], (1, 3)),
    "integers": lambda: raw_csr(np.int64([1, 2, 3]), [2, 0, 0], [0, 3], (1, 3)),
    "coo": lambda: sparse.coo_matrix((np.float32([1, 2, 0]), ([0, 0, 0], [1, 1, 2])), shape=(1, 3)),
    "csc": lambda: sparse.csc_matrix((np.float32([0, 2]), np.array([0, 0]), np.array([0, 1, 2, 2])), shape=(1, 3)),
}


@pytest.mark.parametrize("kind", MESSY)
def test_the_matrix_that_was_passed_is_never_changed(kind):
    matrix = MESSY[kind]()
    arrays = [getattr(matrix, name) for name in ("data", "indices", "indptr", "row", "col") if hasattr(matrix, name)]
    copies = [array.copy() for array in arrays]
    for array in arrays:
        array.flags.writeable = False  # a hidden write fails loudly
    canonical_csr(matrix)
    for array, copy in zip(arrays, copies, strict=True):
        np.testing.assert_array_equal(array, copy)


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 4), st.integers(0, 5)), max_size=30),
    st.sampled_from(["coo", "csr", "csc"]),
)
@settings(max_examples=80, deadline=None)
def test_result_equals_the_sum_of_the_triples(triples, fmt):
    rows, cols, values = np.array(triples, dtype=np.int64).reshape(-1, 3).T
    expected = np.zeros((4, 5), np.float32)
    np.add.at(expected, (rows, cols), values.astype(np.float32))
    if fmt == "coo":
        matrix = sparse.coo_matrix((values, (rows, cols)), shape=(4, 5))
    else:
        major, minor, size = (rows, cols, 4) if fmt == "csr" else (cols, rows, 5)
        order = np.argsort(major, kind="stable")
        indptr = np.searchsorted(major[order], np.arange(size + 1))
        make = sparse.csr_matrix if fmt == "csr" else sparse.csc_matrix
        matrix = make((values[order], minor[order], indptr), shape=(4, 5))
    result = canonical_csr(matrix)
    assert is_canonical(result)
    np.testing.assert_array_equal(result.toarray(), expected)


BAD_VALUES = {"nan": np.nan, "infinity": np.inf, "minus infinity": -np.inf, "negative": -1.0, "beyond float32": 1e300}


@pytest.mark.parametrize("fmt", ["csr", "csc", "coo"])
@pytest.mark.parametrize("kind", BAD_VALUES)
def test_bad_values_are_refused_and_counted(kind, fmt):
    dense = np.zeros((2, 3))
    dense[0, 1] = 1
    dense[1, 2] = BAD_VALUES[kind]
    with pytest.raises(DataError, match="my_matrix holds 1 "):
        canonical_csr(sparse.csr_matrix(dense).asformat(fmt), "my_matrix")


def test_sum_beyond_float32_is_refused():
    with pytest.raises(DataError, match="infinite"):
        canonical_csr(raw_csr(np.float32([3e38, 3e38]), [0, 0], [0, 2], (1, 2)))


def test_negative_integers_are_refused():
    with pytest.raises(DataError, match="negative"):
        canonical_csr(sparse.csr_matrix(np.array([[0, -3]])))


def test_negative_value_hidden_in_a_repeat_is_refused():
    with pytest.raises(DataError, match="negative"):
        canonical_csr(raw_csr(np.float32([5, -1]), [0, 0], [0, 2], (1, 1)))


@pytest.mark.parametrize("matrix", [DENSE, DENSE.tolist()], ids=["array", "list"])
def test_dense_input_is_refused_with_the_next_step(matrix):
    with pytest.raises(DataTypeError, match=r"wrap it in scipy\.sparse\.csr_matrix"):
        canonical_csr(matrix)


@pytest.mark.parametrize("other", [None, "train.npz", 3])
def test_other_objects_are_refused(other):
    with pytest.raises(DataTypeError, match=type(other).__name__):
        canonical_csr(other)


def test_complex_numbers_are_refused():
    with pytest.raises(DataTypeError, match="complex"):
        canonical_csr(sparse.csr_matrix(np.array([[1j]])))


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (0, 0)])
def test_empty_shapes_are_refused(shape):
    with pytest.raises(ShapeError, match=f"{shape[0]} users by {shape[1]} items"):
        canonical_csr(sparse.csr_matrix(shape))


def test_one_dimensional_array_is_refused():
    with pytest.raises(ShapeError, match="two dimensions"):
        canonical_csr(sparse.coo_array(np.array([1.0, 2.0])))


def test_matrix_without_entries_is_fine():
    assert canonical_csr(sparse.csr_matrix((2, 3))).nnz == 0


def out_of_range(fmt, bad):
    if fmt == "csr":
        return raw_csr(np.float32([1, 1]), [0, bad], [0, 1, 2], (2, 3)), "item"
    if fmt == "csc":
        matrix = sparse.csc_matrix((np.float32([1, 1]), np.array([0, bad]), np.array([0, 1, 2, 2])), shape=(2, 3))
        return matrix, "user"
    if fmt == "coo":
        matrix = sparse.coo_matrix((np.float32([1, 1]), ([0, 1], [0, 1])), shape=(2, 3))
        matrix.coords[1][1] = bad
        return matrix, "item"
    matrix = sparse.bsr_matrix((np.ones((2, 2, 1), np.float32), np.array([0, bad]), np.array([0, 2])), shape=(2, 3))
    return matrix, "item"


@pytest.mark.parametrize("bad", [-1, 10_000_000])
@pytest.mark.parametrize("fmt", ["csr", "csc", "coo", "bsr"])
def test_indices_out_of_range_are_refused_before_scipy_follows_them(fmt, bad):
    matrix, kind = out_of_range(fmt, bad)
    with pytest.raises(DataError, match=f"{kind} id {bad}, outside its [23] {kind}s"):
        canonical_csr(matrix)


@pytest.mark.parametrize("indptr", [[0, 2, 1], [0, 3, 9], [1, 1, 2], [0, 2]])
@pytest.mark.parametrize("fmt", ["csr", "csc"])
def test_broken_index_pointer_is_refused(fmt, indptr):
    make = sparse.csr_matrix if fmt == "csr" else sparse.csc_matrix
    matrix = make(np.ones((2, 2), np.float32))
    matrix.indptr = np.array(indptr)
    with pytest.raises(DataError, match=f"not a valid {fmt.upper()} matrix"):
        canonical_csr(matrix)


def test_no_warning_escapes_for_values_beyond_float32():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(DataError):
            canonical_csr(sparse.csr_matrix(np.array([[1e300]])))
