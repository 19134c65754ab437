from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import recoder.data.frames
import recoder.ops.normalize
import recoder.utils
from recoder.errors import ConfigError, DataTypeError
from recoder.utils import normalize


def test_documented_helpers_are_there():
    assert recoder.utils.__all__ == ["dataframe_to_csr_matrix", "normalize"]
    assert recoder.utils.normalize is recoder.ops.normalize.normalize
    assert recoder.utils.dataframe_to_csr_matrix is recoder.data.frames.dataframe_to_csr_matrix


def test_three_four_five():
    np.testing.assert_allclose(normalize(np.array([3.0, 4.0])), [0.6, 0.8])
    np.testing.assert_allclose(normalize(np.array([[3.0, 0.0], [4.0, 2.0]]), axis=0), [[0.6, 0.0], [0.8, 1.0]])
    np.testing.assert_allclose(normalize(np.array([[3.0, 4.0], [0.0, 2.0]]), axis=1), [[0.6, 0.8], [0.0, 1.0]])


@given(
    hnp.arrays(
        np.float64, hnp.array_shapes(max_dims=4, max_side=4), elements=st.floats(-1e3, 1e3, allow_subnormal=False)
    ),
    st.data(),
)
@settings(max_examples=100, deadline=None)
def test_equals_a_loop_over_vectors(x, data):
    axis = data.draw(st.sampled_from([None, *range(-x.ndim, x.ndim)]))
    result = normalize(x, axis)
    vectors, normalized = (
        (x.reshape(1, -1), result.reshape(1, -1))
        if axis is None
        else (
            np.moveaxis(x, axis, -1).reshape(-1, x.shape[axis]),
            np.moveaxis(result, axis, -1).reshape(-1, x.shape[axis]),
        )
    )
    for vector, unit in zip(vectors, normalized, strict=True):
        largest = np.abs(vector).max()
        if largest == 0:
            np.testing.assert_array_equal(unit, 0)
        else:
            scaled = vector / largest
            np.testing.assert_allclose(unit, scaled / np.sqrt((scaled**2).sum()), rtol=1e-12)


def test_none_takes_a_matrix_as_one_vector():
    np.testing.assert_allclose(np.linalg.norm(normalize(np.arange(6.0).reshape(2, 3))), 1)


def test_zero_vectors_stay_zero_beside_others():
    result = normalize(np.array([[0.0, 0.0], [5.0, 0.0]]), axis=1)
    np.testing.assert_array_equal(result, [[0, 0], [1, 0]])


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_floating_point_dtypes_stay(dtype):
    assert normalize(np.array([3, 4], dtype)).dtype == dtype


@pytest.mark.parametrize("x", [np.array([3, 4]), [3, 4], np.array([3, 4], np.uint8), np.array([-3, -4], np.int8)])
def test_integers_become_floats(x):
    result = normalize(x)
    assert result.dtype == np.float64
    np.testing.assert_allclose(np.abs(result), [0.6, 0.8])


@pytest.mark.parametrize("scale", [1e-40, 1e-30, 1e30, 3e38])
def test_very_large_and_very_small_vectors_get_length_one(scale):
    result = normalize(np.array([scale, scale], np.float32))
    np.testing.assert_allclose(result, np.sqrt([0.5, 0.5]), rtol=1e-5)


def test_nan_and_infinity_spoil_their_own_vector_only():
    result = normalize(np.array([[np.nan, 1], [np.inf, 1], [3, 4]]), axis=1)
    assert np.isnan(result[:2]).any(axis=1).all()
    np.testing.assert_allclose(result[2], [0.6, 0.8])


def test_argument_is_not_changed():
    x = np.array([[3.0, 4.0]])
    normalize(x, axis=1)
    np.testing.assert_array_equal(x, [[3, 4]])


@pytest.mark.parametrize("shape", [(0,), (0, 3), (3, 0)])
@pytest.mark.parametrize("axis", [None, 0, -1])
def test_empty_arrays_stay_empty(shape, axis):
    assert normalize(np.zeros(shape), axis).shape == shape


@pytest.mark.parametrize("axis", [2, -3])
def test_missing_axis_is_refused(axis):
    with pytest.raises(ConfigError, match=f"axis is {axis}, but x has 2 dimensions"):
        normalize(np.eye(2), axis)


@pytest.mark.parametrize("x", [np.array([1j]), np.array(["a"]), [None]])
def test_other_than_real_numbers_is_refused(x):
    with pytest.raises(DataTypeError, match="real numbers"):
        normalize(x)
