from __future__ import annotations

import json

import polars as pl
import pyarrow as pa
import pytest
from pyarrow import parquet
from typer.testing import CliRunner

from recoder.cli.app import app

ROWS = """\
user,item,rating,time,title
ann,1,4,100,Blue
ann,2,2,86500,Red
bob,1,5,200,
bob,1,3,300,Blue
cyd,,1,400,Green
dan,3,,500,Green
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "plays.csv"
    path.write_text(ROWS)
    return path


def info(*arguments):
    return CliRunner().invoke(app, ["data", "info", *map(str, arguments)])


def test_what_is_there_is_counted(file):
    result = info(file, "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    per_user = {"min": 1, "q10": 1, "q25": 1, "median": 1, "q75": 2, "q90": 2, "q99": 2, "max": 2, "mean": 1.5}
    assert found == {
        "file": str(file),
        "columns": {"user": "user", "item": "item", "weight": "rating", "time": "time", "title": "title"},
        "rows": 6,
        "missing": {"user": 0, "item": 1, "weight": 1, "time": 0, "title": 1, "rows": 2},
        "repeated_pairs": 1,
        "users": 2,
        "items": 2,
        "interactions": 3,
        "density": 0.75,
        "per_user": per_user,
        "per_item": per_user,
        "long_tail": {"top_items": {"1%": 2 / 3, "10%": 2 / 3, "20%": 2 / 3}, "items_below_5": 1.0},
        "weights": {"min": 2.0, "median": 3.5, "max": 5.0, "zero": 0, "negative": 0, "infinite": 0},
        "times": {"first": "1970-01-01T00:01:40Z", "last": "1970-01-02T00:01:40Z"},
    }


def test_people_read_the_same(file):
    shown = " ".join(info(file).stdout.split())
    for text in (
        "3 (density 75.000%)",
        "6, of which 1 without item, 1 without weight, 1 without title, 1 repeat a pair",
        "2 to 5, median 3.5",
        "67% to the top 1%",
        "1970-01-01T00:01:40Z to 1970-01-02T00:01:40Z",
        "██ users with 1, 2-3, 4-7, ... interactions",
        "│ per user │ 1 │ 1 │ 1 │ 1 │ 2 │ 2 │ 2 │ 2 │",
    ):
        assert text in shown


def test_a_file_without_weights_times_and_titles_is_enough(tmp_path):
    path = tmp_path / "pairs.tsv"
    path.write_text("user\titem\n1\t2\n")
    found = json.loads(info(path, "--json").stdout)
    assert (found["weights"], found["times"], found["interactions"]) == (None, None, 1)
    assert "median 1\n" not in info(path).stdout


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ("1,2,x\n", "column 'rating' holds string; weights are numbers: choose another --weight, or '' for none"),
        ("1,,3\n", "has no row in which user, item, rating are all there"),
        ("", "has no rows"),
        ("1,2\n", "Expected 3 columns, got 2"),
    ],
)
def test_what_cannot_be_used_is_said_in_one_line(tmp_path, rows, said):
    path = tmp_path / "bad.csv"
    path.write_text("user,item,rating\n" + rows)
    result = info(path, "--user", "user", "--item", "item", "--weight", "rating", "--time", "", "--title", "")
    assert (result.exit_code, result.stdout) == (2, "")
    assert said in result.stderr
    assert result.stderr.count("\n") == 1


def test_times_that_are_none_are_said_with_the_option_that_leaves_them_out(tmp_path):
    path = tmp_path / "dates.csv"
    path.write_text("user,item,date\n1,2,31/05/2024\n1,3,unknown\n")
    result = info(path)
    assert (result.exit_code, result.stdout) == (2, "")
    said = result.stderr.splitlines()[-1]
    assert "column 'date' holds string; times are Unix seconds, dates or date-times such as 2024-05-31T12:30:00" in said
    assert said.endswith("choose another --time, or '' for none")
    assert json.loads(info(path, "--time", "", "--json").stdout)["times"] is None
    path.write_text("user,item,date\n1,2,2024-05-31T12:30:00\n1,3,2024-06-01T00:00:00\n")
    assert json.loads(info(path, "--json").stdout)["times"]["first"] == "2024-05-31T12:30:00Z"
    path.write_text("user,item,date\n1,2,\n1,3,\n")
    assert "has no row in which user, item, date are all there" in info(path).stderr


def test_odd_weights_are_counted_not_refused(tmp_path):
    path = tmp_path / "odd.csv"
    path.write_text("user,item,rating\n1,2,0\n1,3,-1\n1,4,inf\n")
    assert json.loads(info(path, "--json").stdout)["weights"] == {
        "min": -1.0, "median": -0.5, "max": 0.0, "zero": 1, "negative": 1, "infinite": 1,
    }  # fmt: skip
    assert "-1 to 0, median -0.5, 1 zero, 1 negative, 1 infinite" in info(path).stdout


def test_columns_may_be_named_in_a_file_of_settings(file, tmp_path):
    settings = tmp_path / "run.toml"
    settings.write_text(f'[data]\npath = "{file}"\nitem = "title"\nweight = ""\n')
    found = json.loads(info("--config", settings, "--json").stdout)
    assert found["columns"] == {"user": "user", "item": "title", "time": "time"}
    over = json.loads(info("--config", settings, "--item", "item", "--json").stdout)
    assert over["columns"]["item"] == "item"


def test_weights_may_be_yes_or_no_and_categories(tmp_path):
    path = tmp_path / "liked.parquet"
    rows = pl.DataFrame({"user": [1, 1, 2], "item": [5, 6, 5], "liked": [True, False, True]})
    rows.write_parquet(path)
    found = json.loads(info(path, "--weight", "liked", "--json").stdout)
    assert found["weights"]["zero"] == 1
    parquet.write_table(rows.drop("liked").to_arrow().append_column("w", pa.array([3, 4, 3]).dictionary_encode()), path)
    assert json.loads(info(path, "--weight", "w", "--json").stdout)["weights"]["median"] == 3
