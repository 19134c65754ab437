from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recoder.errors import ShapeError, UnknownIdError
from recoder.ops import item_blocks as module
from recoder.ops.item_blocks import ItemGradients, ItemRows, TargetEntries, item_blocks
from recoder.ops.rows import SparseRows
from recoder.ops.workspace import Workspace

SMALLEST = module._SMALLEST_BLOCK


CPU, GPU = torch.device("cpu"), torch.device("cuda")
MOST_SCORES = {CPU: module.BLOCK_SCORES, GPU: module.DEVICE_BLOCK_SCORES}
BOTH_DEVICES = pytest.mark.parametrize("device", [CPU, GPU], ids=str)


@BOTH_DEVICES
@given(st.integers(0, 600), st.integers(0, 100_000))
@settings(max_examples=200)
def test_blocks_cover_the_items_once_in_order_and_hold_few_scores(device, num_users, num_items):
    blocks = item_blocks(num_users, num_items, device)
    covered = [number for block in blocks for number in (block.start, block.stop)]
    assert covered[1:-1:2] == covered[2::2]
    assert (covered[0], covered[-1]) == (0, num_items) if num_items else not blocks
    sizes = [block.stop - block.start for block in blocks]
    assert len(set(sizes[:-1])) <= 1
    assert all(sizes[-1] <= size for size in sizes)
    assert len(sizes) < 3 or sizes[0] < 64 or sizes[0] % 64 == 0
    assert all(size <= SMALLEST or num_users * size <= MOST_SCORES[device] for size in sizes)


@BOTH_DEVICES
@pytest.mark.parametrize(("num_items", "number"), [(0, 0), (1, 1), (SMALLEST, 1), (SMALLEST + 1, 2), (20_000, 2)])
def test_one_block_would_hold_all_scores_so_there_are_two_where_it_pays(num_items, number, device):
    blocks = item_blocks(1, num_items, device)
    # a rest that is too narrow to count
    assert len([block for block in blocks if block.stop - block.start >= 64 or len(blocks) == 1]) == number


@BOTH_DEVICES
@pytest.mark.parametrize("times", [1, 10])
def test_blocks_do_not_shrink_to_nothing_for_many_users(times, device):
    assert len(item_blocks(times * MOST_SCORES[device], 4 * SMALLEST, device)) == 4  # a multiple: no rest


WEIGHT, BIAS = torch.arange(24.0).reshape(8, 3), torch.arange(8.0) * 100


@pytest.mark.parametrize("ids", [None, [6, 0, 3, 7, 1]])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_rows_and_biases_of_a_block_are_those_of_its_items(ids, dtype):
    items = ItemRows(WEIGHT, BIAS, None if ids is None else torch.tensor(ids))
    expected = WEIGHT if ids is None else WEIGHT[ids]
    biases = BIAS if ids is None else BIAS[ids]
    assert len(items) == len(expected)
    space = Workspace()
    for block in (slice(0, 2), slice(2, 5), slice(5, 5), slice(0, 5)):
        assert torch.equal(items.weight_of(block, dtype, space), expected[block].to(dtype))
        assert torch.equal(items.bias_of(block), biases[block])


def test_items_without_biases_have_none_in_a_block():
    assert ItemRows(WEIGHT, None, None).bias_of(slice(0, 2)) is None


@pytest.mark.parametrize("dense", [False, True])
@pytest.mark.parametrize("ids", [None, [6, 0, 3, 7, 1], []])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_gradients_are_those_that_were_written_and_zero_elsewhere(dtype, ids, dense):
    items = ItemRows(WEIGHT, BIAS, None if ids is None else torch.tensor(ids, dtype=torch.int64))
    places = torch.arange(len(items)) if ids is None or not dense else items.ids
    num_rows = len(WEIGHT) if dense else len(items)
    space = Workspace()
    for factor in (1, 2):  # the second time in memory that was written before
        written, biases = factor * WEIGHT[: len(items)], factor * BIAS[: len(items)]
        gradients = ItemGradients(items, dense=dense, like=WEIGHT, space=space)
        for block in (slice(0, 2), slice(2, len(items))):
            gradients.write(block, written[block].to(dtype), biases[block])
        expected_weight, expected_bias = torch.zeros(num_rows, 3), torch.zeros(num_rows)
        expected_weight[places], expected_bias[places] = written, biases
        assert torch.equal(gradients.weight, expected_weight)
        assert torch.equal(gradients.bias, expected_bias)


def test_items_without_biases_have_no_gradients_of_them():
    items = ItemRows(WEIGHT, None, None)
    assert ItemGradients(items, dense=True, like=WEIGHT, space=Workspace()).bias is None


@given(
    num_users=st.integers(0, 6),
    num_cols=st.integers(0, 9),
    num_missing=st.integers(0, 4),
    width=st.integers(1, 5),
    seed=st.integers(0, 100),
)
@settings(max_examples=100)
def test_cuts_of_a_target_are_the_columns_of_the_dense_one(num_users, num_cols, num_missing, width, seed):
    generator = torch.Generator().manual_seed(seed)
    dense = torch.randint(0, 3, (num_users, num_cols), generator=generator).float()
    whole = torch.cat([dense, torch.zeros(num_users, num_missing)], dim=1)
    entries = TargetEntries.of(SparseRows.from_dense(dense), torch.float64)
    for start in range(0, whole.shape[1], width):
        block = slice(start, min(start + width, whole.shape[1]))
        expected = whole[:, block].double()
        cut = entries.cut(block)
        flat = torch.zeros(expected.numel(), dtype=torch.float64).index_add(0, cut.at, cut.values)
        assert torch.equal(flat.view_as(expected), expected)
        assert torch.equal(cut.rows, cut.at // max(1, expected.shape[1]))
        counts = torch.bincount(cut.cols, minlength=expected.shape[1])
        assert np.array_equal(np.diff(cut.offsets), counts)


def test_repeated_entries_of_a_target_all_come():
    target = SparseRows.from_coordinates(torch.tensor([[0, 0], [1, 1]]), torch.tensor([2.0, 3.0]), (1, 2))
    cut = TargetEntries.of(target, torch.float32).cut(slice(1, 2))
    assert (cut.rows.tolist(), cut.at.tolist(), sorted(cut.values.tolist())) == ([0, 0], [0, 0], [2, 3])


@pytest.mark.parametrize("ids", [[0, 8], [-1, 3], [2**40]])
def test_ids_outside_the_table_are_an_error(ids):
    items = ItemRows(WEIGHT, BIAS, torch.tensor(ids))
    with pytest.raises(UnknownIdError, match=f"item id ({min(ids)}|{max(ids)}) is outside this model's 8 items"):
        items.check(SparseRows.from_dense(torch.zeros(1, len(ids))))


@pytest.mark.parametrize("ids", [None, [3, 1]])
def test_a_target_that_is_wider_than_the_items_is_an_error(ids):
    items = ItemRows(WEIGHT, BIAS, None if ids is None else torch.tensor(ids))
    items.check(SparseRows.from_dense(torch.zeros(1, len(items))))
    with pytest.raises(ShapeError, match=f"has {len(items) + 1} columns, but there are {len(items)} items"):
        items.check(SparseRows.from_dense(torch.zeros(1, len(items) + 1)))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("ids", [torch.tensor([6, 0, 3, 7])[::2], torch.tensor([6, 3], dtype=torch.int32)])
def test_ids_of_another_layout_or_dtype_mean_the_same(ids, dtype):
    rows = ItemRows(WEIGHT, BIAS, ids).weight_of(slice(0, 2), dtype, Workspace())
    assert torch.equal(rows, WEIGHT[[6, 3]].to(dtype))
