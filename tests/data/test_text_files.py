from __future__ import annotations

import bz2
import gzip
import io

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from recoder.data import IdMap, Interactions, text_files
from recoder.data.parquet_files import parquet_column_names
from recoder.data.text_files import (
    _Stream,
    csv_column_names,
    read_csv_file,
    stream_csv_file,
)
from recoder.errors import ConfigError, DataError, DataTypeError, EmptyDataError, FileFormatError

ROWS = [("ann", 11, 4.5, 100, "Blue, or not"), ("bob", 12, 2.0, 50, "Rot und Grün"), ("ann", 12, 1.0, 70, "1984")]
COLUMNS = {"user": "who", "item": "song", "weight": "stars", "time": "when", "title": "name"}


def as_text(separator=",", header=True, quote='"', end="\n"):
    rows = [[str(value) for value in row] for row in ROWS]
    lines = [list(COLUMNS.values())] * header + [
        [f"{quote}{field}{quote}" if separator in field else field for field in row] for row in rows
    ]
    return end.join(separator.join(line) for line in lines) + end


@pytest.fixture
def expected():
    frame = pl.DataFrame(ROWS, schema=list(COLUMNS.values()), orient="row")
    return Interactions.from_frame(frame, **COLUMNS)


def assert_same(one, two):
    np.testing.assert_array_equal(one.matrix.toarray(), two.matrix.toarray())
    assert (one.user_ids, one.item_ids, one.titles) == (two.user_ids, two.item_ids, two.titles)
    np.testing.assert_array_equal(one.times, two.times)


@pytest.mark.parametrize("separator", [",", "\t", "::", ";", "<->", "|"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("header", [True, False])
def test_text_equals_the_frame(separator, end, header, expected, tmp_path):
    path = tmp_path / "plays.txt"
    path.write_bytes(as_text(separator, header, end=end).encode())
    names = None if header else list(COLUMNS.values())
    assert_same(Interactions.from_csv(path, **COLUMNS, separator=separator, names=names), expected)


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "utf-8-sig"])
def test_text_of_another_encoding_is_read(encoding, expected, tmp_path):
    path = tmp_path / "plays.csv"
    path.write_bytes(as_text().encode(encoding))
    assert_same(Interactions.from_csv(str(path), **COLUMNS, encoding=encoding), expected)


@pytest.mark.parametrize(("ending", "pack"), [("gz", gzip.compress), ("bz2", bz2.compress)])
@pytest.mark.parametrize("separator", [",", "::"])
def test_compressed_text_is_read(ending, pack, separator, expected, tmp_path):
    path = tmp_path / f"plays.csv.{ending}"
    path.write_bytes(pack(as_text(separator).encode()))
    assert_same(Interactions.from_csv(path, **COLUMNS, separator=separator), expected)


def test_columns_that_are_not_named_are_not_read(tmp_path):
    path = tmp_path / "plays.csv"
    path.write_bytes(b"a,who,b,song\nx,1,\xff\xff,2\n,3,y,4\n")  # would be no UTF-8
    read = Interactions.from_csv(path, user="who", item="song")
    assert (read.user_ids, read.item_ids, read.titles, read.times) == (IdMap([1, 3]), IdMap([2, 4]), None, None)
    parquet.write_table(pa.table({"who": [1], "song": [2], "b": [[{"nested": 1}]]}), tmp_path / "plays.parquet")
    assert Interactions.from_parquet(tmp_path / "plays.parquet", user="who", item="song").matrix.nnz == 1


def test_parquet_equals_the_frame(expected, tmp_path):
    pl.DataFrame(ROWS, schema=list(COLUMNS.values()), orient="row").write_parquet(tmp_path / "plays.parquet")
    assert_same(Interactions.from_parquet(tmp_path / "plays.parquet", **COLUMNS), expected)


def test_quotes_mean_nothing_where_there_are_none(tmp_path):
    path = tmp_path / "plays.tsv"
    path.write_text('1\tbetty "b\n2\t"quoted"\n')
    read = Interactions.from_csv(path, user="u", item="i", separator="\t", names=["u", "i"], quote=None)
    assert read.item_ids == IdMap(['betty "b', '"quoted"'])


def test_ids_keep_their_zeros_where_they_are_said_to_be_text(tmp_path):
    path = tmp_path / "plays.csv"
    path.write_text("u,i\n1,007\n2,012\n")
    read = Interactions.from_csv(path, user="u", item="i", types={"i": pa.string()})
    assert read.item_ids == IdMap(["007", "012"])
    with pytest.raises(ConfigError, match=r"plays.csv has no column 'j'"):
        Interactions.from_csv(path, user="u", item="i", types={"j": pa.string()})


def test_two_columns_of_a_name_are_not_told_apart_by_it(tmp_path):
    path = tmp_path / "plays.csv"
    path.write_text("u,i,i,w\n1,2,3,4\n")
    with pytest.raises(ConfigError, match=r"has 2 columns 'i'; name them with names="):
        Interactions.from_csv(path, user="u", item="i")
    assert Interactions.from_csv(path, user="u", item="w").item_ids == IdMap([4])


@pytest.mark.parametrize("moment", ["2015-03-29 12:30:05", "2015-03-29T14:30:05+02:00", "2015-03-29T12:30:05.75Z"])
def test_written_moments_are_times(moment, tmp_path):
    (tmp_path / "a.csv").write_text(f"u,i,t\n1,2,{moment}\n")
    read = Interactions.from_csv(tmp_path / "a.csv", user="u", item="i", time="t")
    assert read.times.tolist() == [1_427_632_205]


def test_only_an_empty_field_is_missing(tmp_path):
    path = tmp_path / "plays.csv"
    path.write_text("u,i\nNA,null\nnan,NaN\n")
    assert Interactions.from_csv(path, user="u", item="i").item_ids == IdMap(["null", "NaN"])
    path.write_text("u,i\na,b\n,c\n")
    with pytest.raises(DataError, match="'u' holds 1 missing"):
        Interactions.from_csv(path, user="u", item="i")


NONE_WITH_ITS = st.text("ab:,", max_size=40).map(str.encode)


@given(NONE_WITH_ITS, st.sampled_from(["::", ":::", "ab", "aab", ":a:"]), st.integers(1, 7), st.integers(1, 9))
def test_separators_are_replaced_wherever_blocks_end(text, separator, block, asked):
    class Slow(io.BytesIO):
        def read(self, size=-1):
            return super().read(min(size, block))

    stream = _Stream(Slow(text), "text", separator, "utf8")
    read = b""
    while piece := stream.read(asked):
        assert len(piece) <= asked
        read += piece
    assert read == text.replace(separator.encode(), b"\x1f")


def test_long_text_of_several_blocks_is_read_right(tmp_path):
    rng = np.random.default_rng(0)
    rows = rng.integers(0, 10**6, (400_000, 2))
    path = tmp_path / "long.dat"
    path.write_bytes(b"".join(b"%d::%d\n" % tuple(row) for row in rows.tolist()))
    assert path.stat().st_size > 1 << 22
    read = Interactions.from_csv(path, user="u", item="i", separator="::", names=["u", "i"])
    frame = pl.DataFrame({"u": rows[:, 0], "i": rows[:, 1]})
    other = Interactions.from_frame(frame, user="u", item="i")
    assert (read.matrix != other.matrix).nnz == 0
    assert (read.user_ids, read.item_ids) == (other.user_ids, other.item_ids)


BAD = {
    "too few fields": (b"u,i,w\n1,a,3\n2,b\n", FileFormatError, r"Row #3: Expected 3 columns, got 2"),
    "too many fields": (b"u,i,w\n1,a,3,4\n", FileFormatError, r"Row #2: Expected 3 columns, got 4"),
    "no weight": (b"u,i,w\n1,a,x\n", DataTypeError, "'w' holds string"),
    "negative weight": (b"u,i,w\n1,a,-3\n", DataError, "negative"),
    "no such column": (b"u,j,w\n1,a,3\n", ConfigError, r"no column 'i'; its columns are \['u', 'j', 'w'\]"),
    "header only": (b"u,i,w\n", EmptyDataError, "has no rows"),
    "empty": (b"", EmptyDataError, "is empty"),
    "blank": (b"\n\n", EmptyDataError, "is empty"),
    "not UTF-8": (b"u,i,w\n1,\xe9,3\n", FileFormatError, "'i' of .* is not utf8; pass the encoding"),
}


UNCLOSED = {
    "to the end": b'u,i\n1,"Heroes\n2,x\n3,y\n',
    "up to another": b'u,i\n1,"Heroes,5\n2,x\n3,y"\n4,z\n',
}


@pytest.mark.parametrize("case", UNCLOSED)
@pytest.mark.parametrize("separator", [",", "::"])
def test_a_quote_of_an_id_that_is_never_closed_takes_no_rows_silently(case, separator, tmp_path):
    path = tmp_path / "quotes.csv"
    path.write_bytes(UNCLOSED[case].replace(b",", separator.encode()))
    with pytest.raises(FileFormatError, match=r"column 'i' of .*quotes\.csv goes over \d lines: 'Heroes.*quote=None"):
        Interactions.from_csv(path, user="u", item="i", separator=separator)


SWALLOWED = {
    "a column that is not read": (b'u,i,comment\n1,a,"great\n2,b,ok\n3,c,fine\n', {}, 1, 2),
    "a title between ids": (b'u,t,i\n1,"Heroes,10\n2,Low,11\n3,"Lodger",12\n', {"title": "t"}, 1, 1),
    "empty lines besides": (b'u,i,comment\n\n1,a,"great\n2,b,ok\n\n3,c,fine', {}, 1, 2),
    "closed": (b'u,i,comment\n1,a,"so\nso"\n\n2,b,ok\n', {}, 2, 0),
    "as many lines as rows": (b'u,i,comment\n1,a,"great"\n2,b,ok', {}, 2, 0),
}


@pytest.mark.parametrize("case", SWALLOWED)
@pytest.mark.parametrize("separator", [",", "::"])
def test_rows_that_a_quote_swallows_are_said(case, separator, tmp_path, caplog):
    text, more, num_rows, num_lost = SWALLOWED[case]
    path = tmp_path / "plays.csv"
    path.write_bytes(text.replace(b",", separator.encode()))
    read = Interactions.from_csv(path, user="u", item="i", separator=separator, **more)
    assert read.matrix.nnz == num_rows
    said = [record.getMessage() for record in caplog.records if "within quoted fields" in record.getMessage()]
    assert len(said) == (num_lost > 0)
    assert not said or said[0].startswith(f"{num_lost} of the 4 lines of {path} are within")


def test_where_nothing_is_quoted_a_quote_is_a_letter(tmp_path):
    path = tmp_path / "quotes.tsv"
    path.write_bytes(b'u\ti\n1\t"Heroes\n2\t"Low\n3\t"weird al" yankovic\n')
    read = Interactions.from_csv(path, user="u", item="i", separator="\t", quote=None)
    assert read.item_ids.ids.to_pylist() == ['"Heroes', '"Low', '"weird al" yankovic']


def test_titles_may_go_over_lines(tmp_path):
    path = tmp_path / "titles.csv"
    path.write_bytes(b'u,i,t\n1,a,"one\ntwo"\n2,b,three\n')
    assert Interactions.from_csv(path, user="u", item="i", title="t").titles == ("one\ntwo", "three")


@pytest.mark.parametrize("case", BAD)
@pytest.mark.parametrize("separator", [",", "::"])
def test_bad_text_is_refused(case, separator, tmp_path):
    text, error, message = BAD[case]
    path = tmp_path / "bad.csv"
    path.write_bytes(text.replace(b",", separator.encode()))
    with pytest.raises(error, match=message):
        Interactions.from_csv(path, user="u", item="i", weight="w", separator=separator)


def test_text_without_a_header_may_be_empty_too(tmp_path):
    (tmp_path / "a.csv").write_bytes(b"")
    with pytest.raises(EmptyDataError, match="is empty"):
        Interactions.from_csv(tmp_path / "a.csv", user="u", item="i", names=["u", "i"])


def test_wrong_type_names_the_line(tmp_path):
    (tmp_path / "a.csv").write_text("u,i\n1,2\n3,x\n")
    with pytest.raises(FileFormatError, match=r"Row #3.*'x'"):
        Interactions.from_csv(tmp_path / "a.csv", user="u", item="i", types={"i": pa.int64()})


@pytest.mark.parametrize("separator", [",", "::"])
def test_truncated_and_binary_files_are_refused(separator, tmp_path):
    whole = gzip.compress(b"u%bi\n" % separator.encode() + b"".join(b"%d::%d\n" % (n, n * n) for n in range(9999)))
    (tmp_path / "a.csv.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(FileFormatError, match=r"a\.csv\.gz.*get it again"):
        Interactions.from_csv(tmp_path / "a.csv.gz", user="u", item="i", separator=separator)
    (tmp_path / "b.csv").write_bytes(b"u::i\n1\x1f::2\n")
    with pytest.raises(FileFormatError, match="control character"):
        Interactions.from_csv(tmp_path / "b.csv", user="u", item="i", separator="::")


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"separator": ""}, "separator is ''"),
        ({"separator": None}, "separator is None"),
        ({"separator": "a\n"}, "separator is"),
        ({"separator": "\0"}, "separator is"),
        ({"quote": "''"}, "quote is"),
        ({"quote": "“"}, "quote is '“'; it must be one ASCII character"),
        ({"quote": "\0"}, "quote is"),
        ({"quote": 3}, "quote is 3"),
        ({"encoding": "utf-9"}, "encoding is 'utf-9'"),
        ({"encoding": None}, "encoding is None"),
    ],
)
def test_options_that_cannot_be_are_refused(option, message, tmp_path):
    (tmp_path / "a.csv").write_text("u,i\n1,2\n")
    with pytest.raises(ConfigError, match=message):
        Interactions.from_csv(tmp_path / "a.csv", user="u", item="i", **option)


@pytest.mark.parametrize("read", [Interactions.from_csv, Interactions.from_parquet])
def test_files_that_are_not_there_are_missing_and_folders_without_any_refused(read, tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        read(tmp_path / "nowhere", user="u", item="i")
    with pytest.raises(FileNotFoundError if read == Interactions.from_parquet else FileFormatError):
        read(tmp_path, user="u", item="i")
    with pytest.raises(ConfigError, match="path is 5"):
        read(5, user="u", item="i")


def test_column_names_are_told_without_reading_the_rows(tmp_path):
    (tmp_path / "a.txt").write_bytes(b'who::"my song"::stars\n' + b"\xff" * 10)
    assert csv_column_names(tmp_path / "a.txt", separator="::") == ["who", "my song", "stars"]
    parquet.write_table(pa.table({"who": ["a"], "song": [1]}), tmp_path / "a.parquet")
    assert parquet_column_names(tmp_path / "a.parquet") == ["who", "song"]
    with pytest.raises(FileFormatError, match="as parquet"):
        parquet_column_names(tmp_path / "a.txt")


@pytest.mark.parametrize("separator", [",", "::"])
def test_a_text_streams_as_it_is_read(tmp_path, separator, monkeypatch):
    monkeypatch.setattr(text_files, "_BLOCK_BYTES", 1000)
    lines = [f"{row}{separator}name {row % 7}" for row in range(2000)]
    path = tmp_path / "a.csv.gz"
    path.write_bytes(gzip.compress("\n".join([f"who{separator}what", *lines]).encode()))
    form = {"separator": separator, "names": None, "encoding": "utf8", "quote": '"', "types": None}
    streamed = list(stream_csv_file(path, ["what", "who"], **form))
    assert len(streamed) > 10
    assert pa.concat_tables(streamed).equals(read_csv_file(path, ["what", "who"], **form).combine_chunks())


def test_a_stream_whose_later_lines_differ_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setattr(text_files, "_BLOCK_BYTES", 100)
    path = tmp_path / "a.csv"
    path.write_text("isbn\n" + "123\n" * 100 + "12X\n")
    form = {"separator": ",", "names": None, "encoding": "utf8", "quote": '"'}
    with pytest.raises(FileFormatError, match="where ids are of several forms read them as text"):
        list(stream_csv_file(path, ["isbn"], types=None, **form))
    streamed = stream_csv_file(path, ["isbn"], types={"isbn": pa.string()}, **form)
    assert sum(map(len, streamed)) == 101


@pytest.mark.parametrize(("separator", "encoding"), [(",", "utf8"), ("::", "utf8"), (",", "latin-1")])
def test_threads_of_arrow_read_no_stream_of_python(tmp_path, separator, encoding, monkeypatch):
    path = tmp_path / "plays.txt"
    path.write_bytes(as_text(separator).encode(encoding))
    given = []

    def read_csv(source, *options, _read=text_files.csv.read_csv, **more):
        given.append(source)
        return _read(source, *options, **more)

    monkeypatch.setattr(text_files.csv, "read_csv", read_csv)
    read_csv_file(path, ["name"], separator=separator, names=None, encoding=encoding, quote='"', types=None)
    list(stream_csv_file(path, ["name"], separator=separator, names=None, encoding=encoding, quote='"', types=None))
    assert len(given) == 4  # each after its first line
    assert all(isinstance(source, pa.NativeFile) for source in given)


@pytest.mark.parametrize("header", [True, False])
def test_a_stream_names_the_line_that_is_wrong(tmp_path, header, monkeypatch):
    path = tmp_path / "plays.csv"
    path.write_text("u,i\n" * header + "1,2\n" * 1000 + "1\n" + "1,2\n" * 1000)
    monkeypatch.setattr(text_files, "_BLOCK_BYTES", 128)
    names = None if header else ["u", "i"]
    with pytest.raises(FileFormatError, match=f"Row #{1001 + header}: Expected 2 columns, got 1"):
        list(stream_csv_file(path, ["u"], separator=",", names=names, encoding="utf8", quote='"', types=None))


def test_line_breaks_within_quotes_are_read_wherever_a_block_of_the_file_ends(tmp_path):
    path = tmp_path / "a.csv"
    lines = [f'{n},{n % 7},"line one\nline two of {n}"' for n in range(200_000)]
    path.write_text("\n".join(["user,item,review", *lines]))
    assert path.stat().st_size > 1 << 22  # what is read at once
    read = Interactions.from_csv(path, user="user", item="item", title="review")
    assert read.matrix.shape == (200_000, 7)
    assert read.titles[3] == "line one\nline two of 3"
    with pytest.raises(FileFormatError, match=r"out of sync|Expected"):
        Interactions.from_csv(path, user="user", item="item", quote=None)


@pytest.mark.parametrize("separator", ["§", "→", "\x1f"])
def test_a_separator_may_be_any_character(separator, expected, tmp_path):
    path = tmp_path / "plays.csv"
    path.write_bytes(as_text(separator).encode())
    assert_same(Interactions.from_csv(path, **COLUMNS, separator=separator), expected)


def test_a_stream_is_not_cut_within_quotes(tmp_path):
    path = tmp_path / "a.csv"
    lines = [f'{n},{n % 7},"line one\nline two of {n}"' for n in range(200_000)]
    path.write_text("\n".join(["user,item,review", *lines]))
    options = {"separator": ",", "names": None, "quote": '"', "types": None}
    tables = list(stream_csv_file(path, ["user", "item"], encoding="utf8", **options))
    assert len(tables) > 1
    assert pa.concat_tables(tables).column("user").to_pylist() == list(range(200_000))
    with pytest.raises(ConfigError, match="encoding is 'utf99'"):
        next(stream_csv_file(path, ["user"], encoding="utf99", **options))


def test_a_mark_for_inches_does_not_keep_a_stream_from_going_on(tmp_path, monkeypatch):
    monkeypatch.setattr("recoder.data.text_files._MOST_BYTES", 1 << 20)
    path = tmp_path / "a.csv"
    path.write_text("user,item\n" + "".join(f'{n},12" disc {n % 7}\n' for n in range(300_001)))
    options = {"separator": ",", "names": None, "quote": '"', "types": None}
    tables = list(stream_csv_file(path, ["user", "item"], encoding="utf8", **options))
    assert sum(map(len, tables)) == 300_001
