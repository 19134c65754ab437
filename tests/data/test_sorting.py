"""Parquet files that are sorted on the disk give what reading them into memory gives."""

from __future__ import annotations

import datetime
import decimal
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recoder._locks import _HOST
from recoder.data import Interactions
from recoder.data.mapped import is_mapped
from recoder.data.sorting import _SortedRows
from recoder.errors import (
    ConfigError,
    DataError,
    DataTypeError,
    EmptyDataError,
    FileFormatError,
    FileWriteError,
    MissingDependencyError,
    NotEnoughMemoryError,
    RecoderError,
)

pytest.importorskip("duckdb")

ROLES = {"user": "u", "item": "i"}


def table_of(rng: np.random.Generator, size: int, **columns: Any) -> pa.Table:
    """Returns rows with many repeats, ids of users as numbers and of items as text."""
    made = {
        "u": pa.array(rng.integers(-40, 60, size) * 10**12),
        "i": pa.array([f"söng {number}" for number in rng.integers(0, 50, size)]),
        "w": pa.array(rng.integers(0, 4, size) * 0.5 + rng.random(size) * (rng.random(size) < 0.3)),
        "t": pa.array(rng.integers(-(10**9), 10**9, size), pa.timestamp("ms")),
        "title": pa.array([None if n == 0 else f"name {n}" for n in rng.integers(0, 9, size)], pa.string()),
    }
    return pa.table({**made, **columns})


def write(folder: Path, tables: list[pa.Table]) -> Path:
    folder.mkdir(exist_ok=True)
    for number, table in enumerate(tables):
        pq.write_table(table, folder / f"{number:02}.parquet", row_group_size=100)
    return folder


def assert_same(mapped: Interactions, read: Interactions) -> None:
    assert is_mapped(mapped.matrix)
    assert mapped.matrix.shape == read.matrix.shape
    for name in ("indptr", "indices", "data"):
        there, expected = getattr(mapped.matrix, name), getattr(read.matrix, name)
        np.testing.assert_array_equal(there, expected, err_msg=name)
        assert there.dtype == expected.dtype
    assert (mapped.user_ids, mapped.item_ids, mapped.titles) == (read.user_ids, read.item_ids, read.titles)
    assert (mapped.times is None) == (read.times is None)
    if read.times is not None:
        np.testing.assert_array_equal(mapped.times, read.times)


@pytest.mark.parametrize("more", [{}, {"weight": "w"}, {"time": "t"}, {"weight": "w", "time": "t", "title": "title"}])
@pytest.mark.parametrize("num_files", [1, 3])
def test_it_equals_reading_into_memory(tmp_path: Path, more: dict[str, str], num_files: int) -> None:
    rng = np.random.default_rng(num_files)
    folder = write(tmp_path / "plays", [table_of(rng, 700) for _ in range(num_files)])
    mapped = Interactions.from_parquet(folder, **ROLES, **more, mapped_to=tmp_path / "mapped")
    assert_same(mapped, Interactions.from_parquet(folder, **ROLES, **more))
    assert_same(Interactions.open_mapped(tmp_path / "mapped"), mapped)


@pytest.mark.parametrize(
    "columns",
    [
        {"u": pa.array(["x", "", "x", "é"]), "i": pa.array([3, 1, 1, 3], pa.int16())},
        {"u": pa.array([1, 2, 1, 2], pa.uint64()), "i": pa.array(["a", "b", "b", "a"]).dictionary_encode()},
        {"w": pa.array([True, False, True, True])},
        {"w": pa.array([decimal.Decimal("1.25")] * 4)},
        {"w": pa.array([3, 2, 1, 0], pa.int8())},
        {"t": pa.array([datetime.date(1969, 12, 31)] * 4)},
        {"t": pa.array([1.5, -1.5, 2.5, 3.5])},
        {"t": pa.array([10**9, 1, 2, -1], pa.timestamp("us", "Europe/Berlin"))},
        {"t": pa.array([10**18 + 1, 1, 2, -1], pa.timestamp("ns"))},
        {"title": pa.array([None] * 4, pa.null())},
        {"title": pa.array(["a", None, "b", "c"]).dictionary_encode()},
    ],
)
def test_columns_of_all_types_are_read_alike(tmp_path: Path, columns: dict[str, pa.Array]) -> None:
    table = table_of(np.random.default_rng(0), 4, **columns)
    pq.write_table(table, tmp_path / "a.parquet")
    more = {"weight": "w", "time": "t", "title": "title"}
    mapped = Interactions.from_parquet(tmp_path / "a.parquet", **ROLES, **more, mapped_to=tmp_path / "mapped")
    assert_same(mapped, Interactions.from_parquet(tmp_path / "a.parquet", **ROLES, **more))


@pytest.mark.parametrize(
    ("columns", "error", "message"),
    [
        ({"u": pa.array([1, None, 2, None])}, DataError, "'u' holds 2 missing values"),
        ({"w": pa.array([1, float("nan"), None, 1])}, DataError, "'w' holds 2 missing values"),
        ({"t": pa.array([1, None, 2, 3], pa.timestamp("s"))}, DataError, "'t' holds 1 missing values"),
        ({"w": pa.array([1.0, -2.5, -3.5, 1])}, DataError, r"'w' holds 2 values that are negative .*-2\.5"),
        ({"w": pa.array([1.0, 1e300, 3.5, 1])}, DataError, r"'w' holds 1 values that are infinite as .*\(.* inf\)"),
        ({"w": pa.array([1.0, 2, 3, -float("inf")])}, DataError, r"'w' holds 1 values that are infinite .* -inf\)"),
        ({"w": pa.array([3e38] * 4), "u": pa.array([1] * 4), "i": pa.array([1] * 4)}, DataError, "matrix holds 1 val"),
        ({"u": pa.array([1.0] * 4)}, DataTypeError, "'u' holds double"),
        ({"u": pa.array([2**64 - 1] * 4, pa.uint64())}, DataError, "'u' holds ids beyond int64"),
        ({"w": pa.array(["a"] * 4)}, DataTypeError, "'w' holds string"),
        ({"t": pa.array(["a"] * 4)}, DataTypeError, "'t' holds string"),
        ({"title": pa.array([1, 2, 3, 4])}, DataTypeError, "'title' holds int64"),
    ],
)
def test_what_cannot_be_read_is_refused_alike(
    tmp_path: Path, columns: dict[str, pa.Array], error: type[RecoderError], message: str
) -> None:
    pq.write_table(table_of(np.random.default_rng(0), 4, **columns), tmp_path / "a.parquet")
    roles = {**ROLES, "weight": "w", "time": "t", "title": "title"}
    for more in ({}, {"mapped_to": tmp_path / "mapped"}):
        with pytest.raises(error, match=message):
            Interactions.from_parquet(tmp_path / "a.parquet", **roles, **more)
    assert [path.name for path in tmp_path.iterdir()] == ["a.parquet"]


def test_files_are_read_in_the_order_of_their_names_or_of_the_list(tmp_path: Path) -> None:
    folder = write(tmp_path / "plays", [pa.table({"u": [1, 2], "i": [5, 5]}), pa.table({"i": [4, 4], "u": [3, 1]})])
    paths = sorted(folder.iterdir())
    for given, users in [
        (folder, [1, 2, 3]),
        (str(folder / "0*.parquet"), [1, 2, 3]),
        (paths, [1, 2, 3]),
        ([paths[1], str(paths[0])], [3, 1, 2]),
    ]:
        for more in ({}, {"mapped_to": tmp_path / "mapped"}):
            found = Interactions.from_parquet(given, **ROLES, **more)
            assert found.user_ids.ids.to_pylist() == users
    for missing in (tmp_path / "mapped", str(folder / "9*.parquet"), folder / "9.parquet"):
        with pytest.raises(FileNotFoundError):
            Interactions.from_parquet(missing, **ROLES)
    with pytest.raises(ConfigError, match="empty list"):
        Interactions.from_parquet([], **ROLES)


def test_files_that_differ_are_refused(tmp_path: Path) -> None:
    folder = write(tmp_path / "plays", [pa.table({"u": [1], "i": [5]}), pa.table({"u": ["1"], "i": [5]})])
    for more in ({}, {"mapped_to": tmp_path / "mapped"}):
        with pytest.raises(DataTypeError, match=r"'u' is int64 in .*00\.parquet and string in .*01\.parquet"):
            Interactions.from_parquet(folder, **ROLES, **more)
        with pytest.raises(ConfigError, match="no column 'x'"):
            Interactions.from_parquet(folder, user="x", item="i", **more)
    write(folder, [pa.table({"u": [1], "i": [5]}).slice(0, 0)])
    with pytest.raises(EmptyDataError, match="no rows"):
        Interactions.from_parquet(folder / "00.parquet", **ROLES, mapped_to=tmp_path / "mapped")


def test_repeats_are_told_as_in_memory(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    pq.write_table(pa.table({"u": [1, 1, 2], "i": [7, 7, 7], "w": [1.0, 2, 3]}), tmp_path / "a.parquet")
    with caplog.at_level(logging.INFO, "recoder.data"):
        once = Interactions.from_parquet(tmp_path / "a.parquet", **ROLES, mapped_to=tmp_path / "m")
        summed = Interactions.from_parquet(tmp_path / "a.parquet", **ROLES, weight="w", mapped_to=tmp_path / "m")
    assert once.matrix.toarray().tolist() == [[1], [1]]  # the folder was replaced, its files stay while they are used
    assert summed.matrix.toarray().tolist() == [[3], [3]]
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("INFO", "1 of 3 rows repeat a user and item; each pair counts once"),
        ("WARNING", "1 of 3 rows repeat a user and item; their values were added up"),
    ]


@pytest.mark.parametrize("name", ["U", "file_index", "File_Row_Number"])
def test_columns_that_duckdb_cannot_tell_apart_are_refused(tmp_path: Path, name: str) -> None:
    pq.write_table(pa.table({"u": [1], "i": [1], name: [1]}), tmp_path / "a.parquet")
    with pytest.raises(ConfigError, match="rename"):
        Interactions.from_parquet(tmp_path / "a.parquet", **ROLES, mapped_to=tmp_path / "m")


def test_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    twice = pa.Table.from_arrays([pa.array([1]), pa.array([1]), pa.array([1])], names=["u", "i", "i"])
    pq.write_table(twice, tmp_path / "a.parquet")
    with pytest.raises(ConfigError, match="several columns 'i'"):
        Interactions.from_parquet(tmp_path / "a.parquet", **ROLES, mapped_to=tmp_path / "m")


def test_names_of_columns_and_files_may_hold_quotes(tmp_path: Path) -> None:
    path = tmp_path / 'it\'s "so" [1].parquet'
    pq.write_table(pa.table({'u"; DROP': [1, 2], "i'": [1, 1]}), path)
    found = Interactions.from_parquet([path], user='u"; DROP', item="i'", mapped_to=tmp_path / "m'")
    assert found.matrix.shape == (2, 1)


@pytest.mark.parametrize("name", ["raw", "RAW", "place", "code", "users", "items", "r", "user", "item", "weight"])
def test_other_columns_may_have_any_name(tmp_path: Path, name: str) -> None:
    table = table_of(np.random.default_rng(0), 90, **{name: pa.array(["unused"] * 90)})
    pq.write_table(table, tmp_path / "a.parquet")
    more = {"weight": "w", "time": "t", "title": "title"}
    mapped = Interactions.from_parquet(tmp_path / "a.parquet", **ROLES, **more, mapped_to=tmp_path / "m")
    assert_same(mapped, Interactions.from_parquet(tmp_path / "a.parquet", **ROLES, **more))


def test_a_damaged_file_leaves_nothing(tmp_path: Path) -> None:
    table = table_of(np.random.default_rng(0), 20_000)
    pq.write_table(table, tmp_path / "a.parquet", compression="none", use_dictionary=False)
    whole = bytearray((tmp_path / "a.parquet").read_bytes())
    whole[4:4000] = b"\xff" * 3996
    (tmp_path / "a.parquet").write_bytes(whole)
    with pytest.raises(FileFormatError, match="damaged"):
        Interactions.from_parquet(tmp_path / "a.parquet", **ROLES, mapped_to=tmp_path / "m")
    assert [path.name for path in tmp_path.iterdir()] == ["a.parquet"]


def test_something_else_is_not_replaced(tmp_path: Path) -> None:
    pq.write_table(pa.table({"u": [1], "i": [1]}), tmp_path / "a.parquet")
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "dear.txt").write_text("Dear")
    for there in ("letters", "a.parquet"):
        with pytest.raises(FileWriteError, match="something else is there"):
            Interactions.from_parquet(tmp_path / "a.parquet", **ROLES, mapped_to=tmp_path / there)
    assert (tmp_path / "letters" / "dear.txt").read_text() == "Dear"


def test_an_interrupt_leaves_the_folder_that_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pq.write_table(pa.table({"u": [1], "i": [1]}), tmp_path / "a.parquet")
    before = Interactions.from_parquet(tmp_path / "a.parquet", **ROLES, mapped_to=tmp_path / "m")

    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("recoder.data.sorting._SortedRows.finish", interrupted)
    with pytest.raises(KeyboardInterrupt):
        Interactions.from_parquet(tmp_path / "a.parquet", **ROLES, mapped_to=tmp_path / "m")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.parquet", "m"]
    assert_same(Interactions.open_mapped(tmp_path / "m"), before)


def test_the_extra_is_named_where_duckdb_is_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "duckdb", None)
    with pytest.raises(MissingDependencyError, match=r"recsys-recoder\[large\]"):
        Interactions.from_parquet(tmp_path / "a.parquet", **ROLES, mapped_to=tmp_path / "m")


@pytest.mark.parametrize("limit", [127, 1.5, None])
def test_a_limit_that_is_too_small_is_refused(tmp_path: Path, limit: Any) -> None:
    with pytest.raises(ConfigError, match=r"memory_limit_mib is .* at least 128"):
        Interactions.from_parquet(tmp_path / "a.parquet", **ROLES, mapped_to=tmp_path / "m", memory_limit_mib=limit)


def test_duckdb_that_runs_out_of_memory_or_disk_or_is_interrupted_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import duckdb

    pq.write_table(pa.table({"u": [1], "i": [1]}), tmp_path / "a.parquet")

    def failing(error: Exception) -> Any:
        def sorted_rows(self: Any) -> None:
            raise error

        return sorted_rows

    spilled = tmp_path / f".m.{_HOST}-1234.tmp" / "spill" / "1"
    full = duckdb.IOException(f'Could not write file "{spilled}": No space left on device')
    for error, expected in (
        (duckdb.OutOfMemoryException("no"), NotEnoughMemoryError),
        (full, FileWriteError),
        (RuntimeError("Query interrupted"), KeyboardInterrupt),
        (duckdb.InterruptException("INTERRUPT Error: Interrupted!"), KeyboardInterrupt),
        (RuntimeError("something else"), RuntimeError),
    ):
        monkeypatch.setattr("recoder.data.sorting._Source.sorted_rows", failing(error))
        monkeypatch.setattr("secrets.token_hex", lambda _: "1234")
        with pytest.raises(expected):
            Interactions.from_parquet(tmp_path / "a.parquet", **ROLES, mapped_to=tmp_path / "m")
        assert [path.name for path in tmp_path.iterdir()] == ["a.parquet"]


@pytest.mark.slow
def test_it_spills_within_a_small_limit_and_equals_reading_into_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng, spilled = np.random.default_rng(0), []
    for number in range(3):
        size = 1_500_000
        columns = {"u": rng.integers(0, 50_000, size), "i": rng.integers(0, 5_000, size), "w": rng.random(size)}
        pq.write_table(pa.table({**columns, "t": rng.integers(0, 10**9, size)}), tmp_path / f"{number}.parquet")
    original = _SortedRows.add

    def add(rows: _SortedRows, batch: pa.RecordBatch) -> None:
        spilled.append(sum(file.stat().st_size for file in tmp_path.rglob("spill/*")))
        original(rows, batch)

    monkeypatch.setattr(_SortedRows, "add", add)
    roles = {**ROLES, "weight": "w", "time": "t"}
    mapped = Interactions.from_parquet(tmp_path, **roles, mapped_to=tmp_path / "m", memory_limit_mib=128)
    assert max(spilled) > 1 << 20
    assert_same(mapped, Interactions.from_parquet(tmp_path, **roles))
