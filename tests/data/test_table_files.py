from __future__ import annotations

import pyarrow as pa
import pytest
from pyarrow import csv, parquet

from recoder.data.table_files import write_tables
from recoder.errors import EmptyDataError, FileWriteError

TABLES = [pa.table({"user": [1, 2]}), pa.table({"user": [3]})]


@pytest.mark.parametrize("name", ["a.parquet", "a.pq", "a.csv", "a.tsv"])
def test_tables_become_one_file(tmp_path, name):
    assert write_tables(tmp_path / name, iter(TABLES)) == 3
    read = csv.read_csv if name.endswith("sv") else parquet.read_table
    assert read(tmp_path / name).to_pydict() == {"user": [1, 2, 3]}


@pytest.mark.parametrize("name", ["a.parquet", "a.csv"])
@pytest.mark.parametrize("num_before", [0, 1])
def test_an_error_of_what_makes_the_tables_is_none_of_writing(tmp_path, name, num_before):
    def tables():
        yield from TABLES[:num_before]
        raise FileNotFoundError(2, "there is no file", "typo.csv")

    (tmp_path / name).write_text("old")
    with pytest.raises(FileNotFoundError, match=r"there is no file: 'typo\.csv'") as caught:
        write_tables(tmp_path / name, tables())
    assert not isinstance(caught.value, FileWriteError)
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [(name, "old")]


@pytest.mark.parametrize("failing", ["__init__", "write_table", "close"])
def test_an_error_of_writing_names_the_file(tmp_path, monkeypatch, failing):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(parquet.ParquetWriter, failing, full)
    with pytest.raises(FileWriteError, match=r"cannot write .*a\.parquet: No space left on device"):
        write_tables(tmp_path / "a.parquet", TABLES)
    assert list(tmp_path.iterdir()) == []


def test_without_a_table_there_is_nothing_to_write(tmp_path):
    with pytest.raises(EmptyDataError, match=r"nothing to write to .*a\.csv"):
        write_tables(tmp_path / "a.csv", [])
    assert list(tmp_path.iterdir()) == []
