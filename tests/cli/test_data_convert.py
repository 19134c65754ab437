from __future__ import annotations

import json
import re

import polars as pl
import pyarrow as pa
import pytest
from pyarrow import csv, parquet
from typer.testing import CliRunner

from recoder.cli.app import app

TABLE = pa.table(
    {"user": ["a", "b"], "item": [3, 4], "rating": [1.5, 2.0], "time": [5, 6], "title": ["x, y", 'say "z"']}
)


def convert(*arguments):
    return CliRunner().invoke(app, ["data", "convert", *map(str, arguments)])


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "in.parquet"
    parquet.write_table(TABLE.append_column("more", [[0, 0]]), path)
    return path


def test_there_and_back_is_the_same_but_for_columns_without_a_role(file, tmp_path):
    for ending in ("csv", "tsv", "parquet"):
        result = convert(file, tmp_path / f"out.{ending}")
        assert result.exit_code == 0, result.output
        assert result.stdout == f"2 rows of user, item, rating, time, title in {tmp_path}/out.{ending}\n"
        back = tmp_path / "back.parquet"
        assert convert(tmp_path / f"out.{ending}", back).exit_code == 0
        assert parquet.read_table(back).equals(TABLE)


def test_double_colons_become_columns(tmp_path):
    (tmp_path / "ratings.dat").write_text("1::1193::5::978300760\n1::661::3::978302109\n")
    out = tmp_path / "ratings.csv"
    result = convert(tmp_path / "ratings.dat", out, "--names", "user, item, rating, time", "--json")
    assert json.loads(result.stdout) == {"file": str(out), "rows": 2, "columns": ["user", "item", "rating", "time"]}
    assert csv.read_csv(out).to_pydict() == {
        "user": [1, 1],
        "item": [1193, 661],
        "rating": [5, 3],
        "time": [978300760, 978302109],
    }


def test_a_public_data_set_becomes_one_file(tmp_path):
    folder = tmp_path / "films"
    folder.mkdir()
    (folder / "ratings.csv").write_text("userId,movieId,rating,timestamp\n1,10,4.5,5\n2,10,3.0,6\n2,11,1.0,7\n")
    (folder / "movies.csv").write_text("movieId,title,genres\n10,Heat,Action\n11,Big,Comedy\n")
    out = tmp_path / "films.parquet"
    result = convert("ml-20m", out, "--folder", folder)
    assert result.exit_code == 0, result.output
    assert parquet.read_table(out).to_pydict() == {
        "user_id": [1, 2, 2],
        "item_id": [10, 10, 11],
        "weight": [4.5, 3.0, 1.0],
        "time": [5, 6, 7],
        "title": ["Heat", "Heat", "Big"],
    }


@pytest.mark.parametrize(
    ("out", "more", "said"),
    [
        ("out.xlsx", [], "out.xlsx ends in .xlsx; files are written as .parquet, .pq, .csv, .tsv"),
        ("out", [], "ends in nothing; files are written as"),
        ("out.csv", ["--folder", "films"], "--folder is for the files of a public data set"),
        ("in.parquet/out.csv", [], "cannot write"),
    ],
)
def test_what_cannot_be_written_is_said_in_one_line(file, tmp_path, out, more, said):
    result = convert(file, tmp_path / out, *more)
    assert result.exit_code == 2
    assert said in result.stderr.splitlines()[-1]


@pytest.mark.parametrize("more", [[], ["--text-ids"]])
def test_lists_are_no_values_of_a_row(tmp_path, more):
    pl.DataFrame({"user": [1], "item": [[1, 2]]}).write_parquet(tmp_path / "a.parquet")
    result = convert(tmp_path / "a.parquet", tmp_path / "a.csv", *more)
    assert result.exit_code == 2
    assert re.search(r"column 'item' of .* holds .*list<", result.stderr.splitlines()[-1])


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_what_weighs_less_than_the_configuration_says_is_left_out(ending, file, tmp_path):
    toml, out = tmp_path / "films.toml", tmp_path / f"out.{ending}"
    toml.write_text("[data]\nmin_weight = 1.8\n")
    assert convert(file, out, "--config", toml).exit_code == 0
    back = tmp_path / "back.parquet"
    assert convert(out, back).exit_code == 0
    heavy = [rating >= 1.8 for rating in TABLE["rating"].to_pylist()]
    assert 0 < sum(heavy) < len(heavy)
    assert parquet.read_table(back).to_pydict() == TABLE.filter(heavy).to_pydict()


@pytest.mark.parametrize("ids", [["12345678901234567890", "12345678901234567891"], ["12E4", "13E4"]])
def test_ids_that_would_be_written_otherwise_are_refused(ids, tmp_path):
    path, out = tmp_path / "in.csv", tmp_path / "out.csv"
    path.write_text("user,item\n" + "".join(f"{raw_id},{row}\n" for row, raw_id in enumerate(ids)))
    refused = convert(path, out)
    assert refused.exit_code == 2
    assert f"column 'user' of {path} holds double; ids are whole numbers or strings" in refused.stderr
    assert "--text-ids" in refused.stderr
    assert not out.exists()
    assert convert(path, out, "--text-ids").exit_code == 0
    back = csv.read_csv(out, convert_options=csv.ConvertOptions(column_types={"user": pa.string()}))
    assert back["user"].to_pylist() == ids
