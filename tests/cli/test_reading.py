from __future__ import annotations

import gzip
import os
import re
from dataclasses import replace

import pyarrow as pa
import pytest
from pyarrow import parquet

from recoder.cli.config import DataConfig
from recoder.cli.reading import read_interactions, read_table, resolved, stream_tables, to_train_on
from recoder.errors import ConfigError, FileFormatError

TABLE = pa.table(
    {"userId": [7, 7, 8], "movieId": [1193, 661, 1193], "rating": [5.0, 3.0, 4.0], "timestamp": [30, 10, 20]}
)
ROWS = [[str(value) for value in row.values()] for row in TABLE.to_pylist()]


def as_text(separator, header=True):
    lines = [TABLE.column_names] * header + ROWS
    return "".join(separator.join(line) + "\n" for line in lines).encode()


def as_parquet(path):
    parquet.write_table(TABLE, path)


FILES = {
    "a.parquet": as_parquet,
    "a.pq": as_parquet,
    "nameless": as_parquet,
    "a.csv": lambda path: path.write_bytes(as_text(",")),
    "a.csv.gz": lambda path: path.write_bytes(gzip.compress(as_text(","))),
    "a.tsv": lambda path: path.write_bytes(as_text("\t")),
    "a.dat": lambda path: path.write_bytes(as_text("::")),
    "semicolons.txt": lambda path: path.write_bytes(as_text(";")),
    "tabs.txt": lambda path: path.write_bytes(as_text("\t")),
}


@pytest.fixture
def made(tmp_path):
    def make(name, content=None):
        path = tmp_path / name
        if content is None:
            FILES[name](path)
        else:
            path.write_bytes(content)
        return DataConfig(path=str(path))

    return make


@pytest.mark.parametrize("name", FILES)
def test_a_file_is_read_whatever_its_form(made, name, capsys):
    data = resolved(made(name))
    assert read_table(data).equals(TABLE)
    interactions = read_interactions(data)
    assert interactions.matrix.toarray().tolist() == [[5, 3], [4, 0]]
    assert interactions.times.tolist() == [30, 10, 20]
    assert capsys.readouterr().err == (
        "recoder: columns: 'userId' as user, 'movieId' as item, 'rating' as weight, 'timestamp' as time\n"
    )


def test_columns_that_were_all_given_are_not_repeated(made, capsys):
    given = replace(made("a.csv"), user="userId", item="movieId", weight="", time="", title="")
    assert read_table(resolved(given)).column_names == ["userId", "movieId"]
    assert capsys.readouterr().err == ""


def test_names_stand_in_for_a_first_line_that_has_none(made):
    data = replace(made("ratings.dat", as_text("::", header=False)), names=("user", "item", "rating", "time"))
    assert read_table(resolved(data)).to_pydict() == dict(zip(data.names, TABLE.to_pydict().values(), strict=True))


def test_a_first_line_that_is_no_header_is_not_taken_for_one(made):
    with pytest.raises(ConfigError, match=r"Its columns are 7, 1193, 5\.0, 30; if these are no names, .* --names"):
        resolved(made("ratings.dat", as_text("::", header=False)))


def test_a_separator_can_be_given_and_a_tab_can_be_typed(made):
    data = replace(made("a.csv", as_text("\t")), separator="\\t")
    assert read_table(resolved(data)).equals(TABLE)


def test_where_nothing_separates_columns_there_is_one(made):
    data = resolved(replace(made("a.txt", b"item\n1\n2\n"), user="", weight=""), required=["item"])
    assert read_table(data).to_pydict() == {"item": [1, 2]}
    with pytest.raises(ConfigError, match=r"Its columns are user-item; if these are no names, .* and --separator"):
        resolved(made("b.txt", b"user-item\n1-2\n"))


def test_ids_can_be_text_with_their_leading_zeros(made):
    content = b"user,isbn\n007,0345\n8,123\n"
    data = resolved(replace(made("a.csv", content), text_ids=True))
    assert read_interactions(data).item_ids.ids.to_pylist() == ["0345", "123"]
    from_parquet = read_interactions(resolved(replace(made("a.parquet"), text_ids=True)))
    assert from_parquet.user_ids.ids.to_pylist() == ["7", "8"]


def test_a_file_that_is_not_there_is_said_with_the_data_sets_that_are(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there is no file .*absent\.csv; .* ml-100k"):
        resolved(DataConfig(path=str(tmp_path / "absent.csv")))
    with pytest.raises(FileNotFoundError, match="is a folder"):
        resolved(DataConfig(path=str(tmp_path)))
    with pytest.raises(ConfigError, match="say where the interactions are"):
        resolved(DataConfig())


@pytest.mark.parametrize(
    ("name", "content"), [("a.bin", b"\0\1\2\n"), ("a.dat.gz", b"no gzip\n"), ("a.parquet", b"PAR1 but no more")]
)
def test_a_file_of_another_kind_is_refused(made, name, content):
    with pytest.raises(FileFormatError, match=r"neither Parquet nor text|it is damaged"):
        resolved(made(name, content))


def test_a_public_data_set_is_read_by_its_name_unless_a_file_is_called_so(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "films"
    folder.mkdir()
    (folder / "ratings.csv").write_text("userId,movieId,rating,timestamp\n1,10,4.5,5\n2,10,3.0,6\n")
    (folder / "movies.csv").write_text("movieId,title,genres\n10,Heat,Action\n")
    data = DataConfig(path="ml-20m")
    assert resolved(data) == data
    assert read_interactions(data, folder=folder).titles == ("Heat",)
    (tmp_path / "ml-20m").write_bytes(as_text(","))
    assert resolved(data).user == "userId"


def test_training_counts_every_interaction_once_unless_weights_are_to_count(made):
    data = resolved(made("a.csv"))
    assert to_train_on(data).matrix.toarray().tolist() == [[1, 1], [1, 0]]
    assert to_train_on(replace(data, binary=False)).matrix.toarray().tolist() == [[5, 3], [4, 0]]
    liked = to_train_on(replace(data, min_weight=4.0))
    assert liked.matrix.toarray().tolist() == [[1], [1]]
    assert liked.item_ids.ids.to_pylist() == [1193]


def test_training_does_not_look_at_weights_that_do_not_count(made):
    data = resolved(made("a.csv", b"user,item,rating\n1,2,-1\n3,2,bad\n"))
    assert to_train_on(data).matrix.toarray().tolist() == [[1], [1]]


def test_quotes_can_be_letters(made):
    text = b'user\titem\n1\t"Heroes\n2\tLow\n3\t12" single\n'
    with pytest.raises(FileFormatError, match="--quote ''"):
        read_interactions(resolved(made("a.tsv", text)))
    data = resolved(replace(made("a.tsv", text), quote=""))
    assert read_interactions(data).item_ids.ids.to_pylist() == ['"Heroes', "Low", '12" single']
    streamed = pa.concat_tables(stream_tables(data, rows_at_once=10))
    assert streamed["item"].to_pylist() == ['"Heroes', "Low", '12" single']


def test_a_stream_says_too_that_a_quote_is_not_closed(made):
    data = resolved(made("a.csv", b'user,item\n1,"Heroes\n2,Low\n'))
    with pytest.raises(FileFormatError, match=r"'item' of .*a\.csv goes over 3 lines: 'Heroes'"):
        list(stream_tables(data, rows_at_once=10))


def test_a_folder_of_a_data_sets_name_is_none(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ml-20m").mkdir()
    assert resolved(DataConfig(path="ml-20m")).user is None
    (tmp_path / "plays").mkdir()
    with pytest.raises(FileNotFoundError, match="plays is a folder; name one file in it"):
        resolved(DataConfig(path="plays"))


@pytest.mark.parametrize(
    ("said", "option"),
    [({"user": "who"}, "--user"), ({"text_ids": True}, "--text-ids"), ({"names": ("a", "b")}, "--names")],
)
def test_the_form_of_a_public_data_set_is_known(said, option):
    with pytest.raises(ConfigError, match=f"ml-20m is a public data set, whose form is known: leave {option} out"):
        resolved(DataConfig(path="ml-20m", **said))
    assert resolved(DataConfig(path="ml-20m", time="")).time == ""


def test_a_column_that_is_called_like_titles_and_holds_none_is_left(made, tmp_path):
    parquet.write_table(TABLE.append_column("title", pa.array([1, 2, 3])), tmp_path / "a.parquet")
    data = resolved(DataConfig(path=str(tmp_path / "a.parquet")))
    assert data.title == ""
    assert read_interactions(data).titles is None
    parquet.write_table(TABLE.append_column("title", pa.array(["a", "b", "c"])), tmp_path / "a.parquet")
    assert resolved(DataConfig(path=str(tmp_path / "a.parquet"))).title == "title"


SWALLOWED = b'user\titem\ttitle\n1\t10\t"Heroes\n1\t11\tLow\n2\t10\tHeroes\n'


def test_a_title_whose_quote_is_not_closed_takes_no_rows_silently(made, caplog):
    data = resolved(made("a.tsv", SWALLOWED))
    for read in (read_interactions, lambda data: list(stream_tables(data, rows_at_once=10))):
        caplog.clear()
        read(data)
        assert re.search(r"2 of the 4 lines of .*a\.tsv are within quoted fields, and could be rows", caplog.text)
    caplog.clear()
    assert read_interactions(replace(data, quote="")).matrix.nnz == 3
    assert "within" not in caplog.text


def test_a_title_of_two_lines_is_one(made, caplog):
    data = resolved(made("a.csv", b'user,item,title\n1,10,"Heroes,\nor: not"\n2,11,Low\n'))
    assert read_interactions(data).titles == ("Heroes,\nor: not", "Low")
    assert "within" not in caplog.text


def test_parquet_has_no_lines_to_go_over(tmp_path):
    table = pa.table({"user": ["a\nb", "c"], "item": [1, 2], "title": ["x\n1\t2\t3", "y"]})
    parquet.write_table(table, tmp_path / "a.parquet")
    data = resolved(DataConfig(path=str(tmp_path / "a.parquet")))
    assert read_table(data).equals(pa.concat_tables(stream_tables(data, rows_at_once=10)))


@pytest.mark.parametrize(("text", "number"), [(SWALLOWED, 2), (b"user\titem\tmore\n1\t2\t3\n\n1\t3\t4", 0)])
def test_a_stream_says_how_many_lines_are_no_rows(made, caplog, text, number):
    data = replace(resolved(made("a.tsv", text)), title="")
    tables = list(stream_tables(data, rows_at_once=10))
    assert sum(map(len, tables)) == (1 if number else 2)
    assert ("are within quoted fields" in caplog.text) == bool(number)
    assert f"{number} of the 4 lines of {data.path} are" in caplog.text or not number


def test_a_pipe_is_told_from_a_file_that_is_not_there(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(FileFormatError, match="is a pipe, and a file is read more than once"):
        resolved(DataConfig(path=str(tmp_path / "pipe")))
