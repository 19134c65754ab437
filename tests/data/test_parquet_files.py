from __future__ import annotations

import pyarrow as pa
import pytest
from pyarrow import parquet

from recoder.data import Interactions
from recoder.data.parquet_files import stream_parquet_file
from recoder.errors import ConfigError, FileFormatError


def test_parquet_moments_are_times(tmp_path):
    times = pa.array([1_500_000_000_123], pa.timestamp("ms", "Asia/Tokyo"))
    parquet.write_table(pa.table({"u": [1], "i": [2], "t": times}), tmp_path / "a.parquet")
    read = Interactions.from_parquet(tmp_path / "a.parquet", user="u", item="i", time="t")
    assert read.times.tolist() == [1_500_000_000]


def test_bad_parquet_is_refused(tmp_path):
    path = tmp_path / "a.parquet"
    parquet.write_table(pa.table({"u": [1] * 1000, "i": range(1000)}), path)
    with pytest.raises(ConfigError, match="no column 'j'"):
        Interactions.from_parquet(path, user="u", item="j")
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(FileFormatError, match=r"a\.parquet as parquet"):
        Interactions.from_parquet(path, user="u", item="i")


def test_a_parquet_file_streams_so_many_rows_at_a_time(tmp_path):
    table = pa.table({"who": range(100), "what": range(100)})
    parquet.write_table(table, tmp_path / "a.parquet")
    streamed = list(stream_parquet_file(tmp_path / "a.parquet", ["what"], rows_at_once=30))
    assert list(map(len, streamed)) == [30, 30, 30, 10]
    assert pa.concat_tables(streamed).equals(table.select(["what"]))


def test_what_is_hidden_in_a_folder_or_being_written_is_no_part_of_it(tmp_path):
    for place, user in (("a", 1), (".a.parquet.0f-1.tmp/a", 2), ("_temporary/0/b", 3), ("day=1/.c", 4), ("day=1/d", 5)):
        path = tmp_path / f"{place}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        parquet.write_table(pa.table({"u": [user], "i": [2]}), path)
    for whole in (tmp_path, f"{tmp_path}/**", f"{tmp_path}/**/*.parquet"):
        assert Interactions.from_parquet(whole, user="u", item="i").user_ids.ids.to_pylist() == [1, 5]
    named = Interactions.from_parquet(f"{tmp_path}/_temporary/*/*.parquet", user="u", item="i")
    assert named.user_ids.ids.to_pylist() == [3]


def test_folders_whose_names_end_as_those_of_files_are_read_as_folders(tmp_path):
    (tmp_path / "b.parquet").mkdir()
    parquet.write_table(pa.table({"u": [1], "i": [2]}), tmp_path / "a.parquet")
    parquet.write_table(pa.table({"u": [3], "i": [4]}), tmp_path / "b.parquet" / "part-0.parquet")
    for path in (tmp_path, tmp_path / "*.parquet", tmp_path / "**"):
        read = Interactions.from_parquet(path, user="u", item="i")
        assert read.user_ids.ids.to_pylist() == [1, 3]
        assert read.matrix.nnz == 2
