"""Whatever is done with interactions in files gives what it gives in memory, and stays in files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import sparse

from recoder.data import HeldOut, IdMap, Interactions, RecommendationDataset
from recoder.data.mapped import (
    csr_of,
    folder_of,
    in_files,
    is_mapped,
    item_counts,
    item_sums,
    map_file,
    room,
    row_blocks,
)
from recoder.data.mapped_folder import read_folder, write_folder
from recoder.data.matrices import canonical_csr
from recoder.errors import DataError, FileWriteError

USERS, ITEMS = 90, 40


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recoder.data.mapped.BLOCK_ENTRIES", 50)


@pytest.fixture
def read() -> Interactions:
    """Interactions in memory: two users and an item have none."""
    rng = np.random.default_rng(0)
    dense = rng.integers(1, 4, (USERS, ITEMS)) * (rng.random((USERS, ITEMS)) < 0.3)
    dense[[3, 4, 89]], dense[:, 7], dense[5, 8:] = 0, 0, 2
    matrix = sparse.csr_matrix(dense.astype(np.float32))
    times = rng.integers(0, 1000, matrix.nnz)
    titles = tuple(f"title {item}" for item in range(ITEMS))
    return Interactions(
        matrix, IdMap(np.arange(USERS) * 2), IdMap([f"i{item}" for item in range(ITEMS)]), titles, times
    )


@pytest.fixture
def mapped(read: Interactions, tmp_path: Path) -> Interactions:
    return write(read, tmp_path / "mapped")


def write(interactions: Interactions, folder: Path, index: type = np.int32) -> Interactions:
    matrix = interactions.matrix
    with write_folder(folder) as writer:
        for name, values in (("indptr", matrix.indptr.astype(index)), ("indices", matrix.indices.astype(index))):
            writer.append(name, values)
        writer.append("data", matrix.data)
        if interactions.times is not None:
            writer.append("times", interactions.times)
        writer.add_ids("user_ids", interactions.user_ids)
        writer.add_ids("item_ids", interactions.item_ids)
        if interactions.titles is not None:
            writer.add_titles(interactions.titles)
        writer.finish(*matrix.shape)
    return Interactions.open_mapped(folder)


def equal(one: Any, other: Any) -> None:
    """Checks that two results are the same, the first of them in files."""
    if isinstance(one, Interactions):
        equal(one.matrix, other.matrix)
        assert (one.user_ids, one.item_ids, one.titles) == (other.user_ids, other.item_ids, other.titles)
        assert (one.times is None) == (other.times is None)
        if one.times is not None:
            np.testing.assert_array_equal(one.times, other.times)
            assert folder_of(one.times) is not None
    elif isinstance(one, HeldOut):
        assert (one.user_ids, one.item_ids) == (other.user_ids, other.item_ids)
        equal(one.dataset, other.dataset)
    elif isinstance(one, RecommendationDataset):
        equal(one.interactions_matrix, other.interactions_matrix)
        equal(one.target_interactions_matrix, other.target_interactions_matrix)
    elif sparse.issparse(one):
        assert is_mapped(one)
        assert not is_mapped(other)
        assert one.has_canonical_format
        np.testing.assert_array_equal(one.toarray(), other.toarray())
        np.testing.assert_array_equal(one.indptr, other.indptr)
    elif isinstance(one, list | tuple):
        assert len(one) == len(other)
        for left, right in zip(one, other, strict=True):
            equal(left, right)
    else:
        assert one == other


OPERATIONS: dict[str, Callable[[Interactions], Any]] = {
    "weight": lambda data: data.filter(min_weight=2),
    "active": lambda data: data.filter(min_user_interactions=12, min_item_interactions=20),
    "core": lambda data: data.k_core(users=10, items=16),
    "ones": lambda data: data.binarize(),
    "ones twice": lambda data: data.binarize().binarize(),
    "not empty": lambda data: data.drop_empty(),
    "users": lambda data: data.select_users(np.array([60, 5, 4, 0, 89])),
    "all users": lambda data: data.select_users(np.arange(USERS)),
    "items": lambda data: data.select_items(np.array([30, 2, 9])),
    "marked": lambda data: data.select_interactions(np.arange(data.matrix.nnz) % 3 > 0),
    "none": lambda data: data.select_interactions(np.zeros(data.matrix.nnz, bool)).matrix.toarray().sum(),
    "strong": lambda data: list(data.drop_empty().split("strong", seed=3)),
    "random": lambda data: list(data.split("random", seed=3)),
    "last": lambda data: list(data.split("last", k=2)),
    "time": lambda data: list(data.split("time", fraction=0.2)),
    "moment": lambda data: list(data.split("time", time=500)),
    "dataset": lambda data: RecommendationDataset(data.matrix, data.binarize().matrix),
    "widened": lambda data: RecommendationDataset(data.matrix).widened(ITEMS + 3).interactions_matrix,
    "part": lambda data: RecommendationDataset(data.matrix, data.binarize().matrix).of_items(np.array([1, 7, 9, 39])),
    "shown": lambda data: data._repr_html_(),
}


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("has_times", [True, False])
@pytest.mark.parametrize("index", [np.int32, np.int64])
def test_operations_give_what_they_give_in_memory(
    name: str, has_times: bool, index: type, read: Interactions, tmp_path: Path
) -> None:
    if not has_times:
        if name in ("last", "time", "moment"):
            return
        read = Interactions(read.matrix, read.user_ids, read.item_ids, read.titles)
    found = OPERATIONS[name](write(read, tmp_path / "m", index))
    equal(found, OPERATIONS[name](read))
    assert [path.name for path in tmp_path.iterdir()] == ["m"]
    assert not [path for path in (tmp_path / "m").iterdir() if path.name.startswith("tmp")]


def test_no_index_is_copied_into_memory(read: Interactions, tmp_path: Path) -> None:
    for index in (np.int32, np.int64):  # scipy would make int32 of the latter
        mapped = write(read, tmp_path / "m", index)
        for matrix in (mapped.matrix, RecommendationDataset(mapped.matrix).widened(ITEMS + 1).interactions_matrix):
            for array in (matrix.data, matrix.indices):
                assert folder_of(array) == tmp_path / "m"
            assert matrix.indices.dtype == index == matrix.indptr.dtype


def test_blocks_hold_all_rows_once_and_few_entries(mapped: Interactions) -> None:
    matrix, stop, num_rows = mapped.matrix, 0, 0
    for place, part in row_blocks(matrix):
        assert place.start == stop
        assert part.nnz <= 50 or part.shape[0] == 1
        np.testing.assert_array_equal(part.toarray(), matrix[num_rows : num_rows + part.shape[0]].toarray())
        stop, num_rows = place.stop, num_rows + part.shape[0]
    assert (stop, num_rows) == (matrix.nnz, USERS)
    np.testing.assert_array_equal(item_counts(matrix, np.array([9, 5])), matrix[[9, 5]].getnnz(axis=0))


def test_a_matrix_in_memory_is_one_block(read: Interactions) -> None:
    ((place, part),) = row_blocks(read.matrix)
    assert part is read.matrix
    assert place == slice(0, read.matrix.nnz)


def test_new_files_go_beside_the_data_or_where_files_can_be(
    mapped: Interactions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    once = mapped.select_users(np.arange(9))
    assert (
        folder_of(once.matrix.indices) == folder_of(once.select_items(np.arange(3)).matrix.data) == tmp_path / "mapped"
    )
    made: list[Any] = []
    original = __import__("tempfile").TemporaryFile
    monkeypatch.setattr("tempfile.TemporaryFile", lambda **where: made.append(where["dir"]) or original(**where))
    mapped.select_users(np.arange(9))
    monkeypatch.setattr("os.access", lambda *_: False)
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    mapped.select_users(np.arange(9))
    assert made == [tmp_path / "mapped"] * 3 + [tmp_path] * 3


def test_a_full_disk_is_said(mapped: Interactions, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("recoder.data.mapped.Column.append", full)
    with pytest.raises(FileWriteError, match="No space left"):
        mapped.select_users(np.arange(9))
    monkeypatch.setattr("os.posix_fallocate", full)
    with pytest.raises(FileWriteError, match="No space left"):
        room(mapped.matrix.data, 5, np.int64)


def test_room_is_in_memory_for_what_is(read: Interactions, mapped: Interactions) -> None:
    assert folder_of(room(read.matrix.data, 5, np.int64)) is None
    there = room(mapped.matrix.data, 5, np.int64)
    there[:] = [4, 3, 2, 1, 0]
    there.sort()
    assert there.tolist() == [0, 1, 2, 3, 4]
    assert folder_of(there) is not None


def test_files_of_others_are_mapped_too(read: Interactions, tmp_path: Path) -> None:
    matrix = read.matrix
    for name in ("data", "indices"):
        np.save(tmp_path / name, getattr(matrix, name))
    arrays = [np.load(tmp_path / f"{name}.npy", mmap_mode="r") for name in ("data", "indices")]
    own = Interactions.from_matrix(csr_of(arrays[0], arrays[1], matrix.indptr, matrix.shape))
    assert is_mapped(own.matrix)
    equal(own.select_items(np.arange(4)).matrix, matrix[:, :4])


def test_what_is_wrong_in_a_file_is_found(read: Interactions, tmp_path: Path) -> None:
    values = read.matrix.data.copy()
    values[-1] = -3
    values.tofile(tmp_path / "data")
    mapped = map_file(tmp_path / "data", np.float32, len(values))
    with pytest.raises(DataError, match=r"1 negative values \(the first is -3"):
        canonical_csr(csr_of(mapped, read.matrix.indices, read.matrix.indptr, read.matrix.shape))


def test_rows_without_entries_make_a_matrix(mapped: Interactions) -> None:
    matrix, times = in_files(mapped.matrix, 3, [(sparse.csr_matrix((2, 3), dtype=np.float32), None)])
    assert matrix.toarray().tolist() == [[0, 0, 0], [0, 0, 0]]
    assert times is None


def test_a_folder_that_is_replaced_while_it_is_open_stays(
    mapped: Interactions, read: Interactions, tmp_path: Path
) -> None:
    write(read.select_users(np.arange(3)), tmp_path / "mapped")
    equal(mapped.matrix, read.matrix)
    assert read_folder(tmp_path / "mapped").matrix.shape[0] == 3


def test_sums_over_users_are_not_rounded_to_float32():
    values = np.float32([2**24, 1, 1, 3])
    matrix = sparse.csr_matrix((values, ([0, 1, 2, 3], [0, 0, 0, 1])), shape=(4, 3))
    np.testing.assert_array_equal(item_sums(matrix), [2**24 + 2, 3, 0])
    np.testing.assert_array_equal(item_sums(matrix, 2), [2.0**48 + 2, 9, 0])
