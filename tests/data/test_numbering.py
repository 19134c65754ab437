from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recoder.data import numbering
from recoder.data.numbering import number_integers, number_keys


def by_first_appearance(values):
    """The plain reference."""
    numbers = {value: number for number, value in enumerate(dict.fromkeys(values))}
    return [numbers[value] for value in values], [values.index(value) for value in numbers]


def as_lists(result):
    codes, first_rows = result
    assert codes.dtype == np.int32
    return codes.tolist(), first_rows.tolist()


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setattr(numbering, "BLOCK", 64)


RANGES = {
    "int8": (-128, 127),
    "uint8": (0, 255),
    "uint32": (0, 2**32 - 1),
    "int64": (-(2**63), 2**63 - 1),
}


@given(data=st.data(), dtype=st.sampled_from(sorted(RANGES)), spread=st.sampled_from([1, 5, 100, None]))
@settings(max_examples=150, deadline=None)
def test_integers_are_numbered_by_first_appearance(data, dtype, spread):
    low, high = RANGES[dtype]
    start = low if spread is None else data.draw(st.integers(low, high - spread))
    values = data.draw(st.lists(st.integers(start, high if spread is None else start + spread), min_size=1))
    assert as_lists(number_integers(np.array(values, dtype))) == by_first_appearance(values)


@pytest.mark.parametrize("values", [[0], [7], [0, 1, 2, 2, 0], [2, 1, 0], [0, 1, 3, 3, 3], [-1, -1, 0], [2**62, 0]])
def test_shapes_that_take_a_way_of_their_own(values):
    assert as_lists(number_integers(np.array(values))) == by_first_appearance(values)


def test_integers_that_are_their_own_numbers_are_not_copied():
    integers = np.array([0, 1, 0, 2], np.int32)
    codes, first_rows = number_integers(integers)
    assert codes is integers
    assert first_rows.tolist() == [0, 1, 3]


def shuffled(num_keys, num_rows):
    rng = np.random.default_rng(num_rows)
    return rng.integers(0, 2**64, num_keys, np.uint64)[rng.integers(0, num_keys, num_rows)]


def read(keys):
    return lambda start, length: keys[start : start + length].copy()


@pytest.mark.parametrize("num_rows", [1, 63, 64, 65, 1023, 1024, 1025, 5000])
@pytest.mark.parametrize("num_keys", [1, 3, 200, 4000])
def test_every_way_to_number_keys_gives_the_same(small_blocks, num_keys, num_rows):
    keys = shuffled(num_keys, num_rows)
    expected = by_first_appearance(keys.tolist())
    assert as_lists(number_keys(read(keys), num_rows)) == expected
    assert as_lists(numbering._number_array(keys)) == expected
    assert as_lists(numbering._number_scattered(read(keys), num_rows)) == expected


def test_blocks_of_full_size_give_the_same():
    keys = shuffled(400_000, 16 * numbering.BLOCK + 1)
    codes, first_rows = number_keys(read(keys), len(keys))
    expected, expected_rows = numbering._number_array(keys)
    np.testing.assert_array_equal(codes, expected)
    np.testing.assert_array_equal(first_rows, expected_rows)


@pytest.mark.parametrize(
    ("keys", "scattered"),
    [
        (shuffled(4000, 5000), True),
        (np.sort(shuffled(200, 5000)), False),
        (shuffled(4, 5000), False),
        (shuffled(900, 1000), False),
    ],
    ids=["many in no order", "in order", "few", "little data"],
)
def test_only_many_keys_in_no_order_are_grouped(small_blocks, monkeypatch, keys, scattered):
    grouped = []
    original = numbering._number_scattered
    monkeypatch.setattr(numbering, "_number_scattered", lambda *args: grouped.append(1) or original(*args))
    number_keys(read(keys), len(keys))
    assert bool(grouped) == scattered
