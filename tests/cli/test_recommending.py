from __future__ import annotations

import json
import sys

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from polars.testing import assert_frame_equal
from pyarrow import parquet

import recoder
from cli_support import run
from forking import Forked
from recoder.cli import histories, recommending
from recoder.cli.config import DataConfig
from recoder.cli.histories import whole_histories
from recoder.cli.reading import resolved


@pytest.fixture
def in_small_parts(monkeypatch):
    """Makes files of some hundred rows too large for memory."""
    monkeypatch.setattr(histories, "_ROWS_IN_MEMORY", 100)
    monkeypatch.setattr(histories, "_ROWS_AT_ONCE", 40)
    monkeypatch.setattr(histories, "_NUM_PARTS", 5)
    monkeypatch.setattr(recommending, "_USERS_AT_ONCE", 7)
    monkeypatch.setattr(recommending, "_ROWS_AT_ONCE", 50)


def in_python(path, **whom):
    return pl.from_arrow(recoder.load(path, library="pyarrow").recommend(**whom))


@pytest.mark.parametrize("name", ["autoencoder", "als", "ease"])
def test_users_in_training_get_what_python_gives_them(models, name):
    asked = ["recommend", models[name], "--for", "u3", "--for", "u0", "--k", 4, "--no-titles", "--json"]
    assert json.loads(run(*asked).stdout) == in_python(models[name], users=["u3", "u0"], k=4).to_dicts()


def test_histories_are_typed_as_ids_between_commas(models):
    asked = ["recommend", models["bare"], "--history", "2, 4", "--history", "7", "--k", 3]
    told = json.loads(run(*asked, "--json").stdout)
    assert told == in_python(models["bare"], histories=[[2, 4], [7]], k=3, titles=True).to_dicts()
    assert {row["item_id"] % 2 for row in told if row["user_id"] == 0} == {0}
    shown = run(*asked).stdout
    assert "┃ user ┃ rank ┃ item ┃ title" in shown
    assert "├──────┼" in shown  # between the two
    assert all(row["title"] in shown for row in told)


def test_candidates_exclusions_and_what_is_seen(models, tmp_path):
    some, none = tmp_path / "some.csv", tmp_path / "none.csv"
    some.write_text("item\n2\n4\n6\n777\n")
    none.write_text("item\n6\n")
    asked = ["recommend", models["bare"], "--history", "2", "--candidates", some, "--json"]

    def items(*more):
        result = run(*asked, *more)
        assert "1 of 4 items in" in result.stderr
        return {row["item_id"] for row in json.loads(result.stdout)}

    assert items() == {4, 6}
    assert items("--exclude", none) == {4}
    assert items("--keep-seen") == {2, 4, 6}


@pytest.mark.usefixtures("in_small_parts")
@pytest.mark.parametrize("form", ["parquet", "csv", "dat"])
@pytest.mark.parametrize("order", ["as they come", "by time"])
def test_a_file_of_histories_is_worked_through_in_parts(models, frame, tmp_path, form, order):
    asked = (frame.sort("time") if order == "by time" else frame).select("user", "film")
    source = tmp_path / f"histories.{form}"
    if form == "parquet":
        asked.write_parquet(source)
    else:
        asked.write_csv(source, separator=",")
        if form == "dat":
            source.write_text(source.read_text().replace(",", "::"))
    out = tmp_path / "lists.parquet"
    result = run("recommend", models["bare"], source, "--k", 3, "--out", out)
    assert result.stdout == f"180 recommendations for 60 users in {out}\n"
    data = recoder.Interactions.from_frame(asked, user="user", item="film")
    expected = in_python(models["bare"], histories=data, k=3)
    found = pl.read_parquet(out)
    assert found.columns == ["user_id", "item_id", "score", "rank"]
    assert_frame_equal(found.sort("user_id", "rank"), expected.sort("user_id", "rank"), check_dtypes=False)
    assert list(tmp_path.glob(".*")) == []


@pytest.mark.usefixtures("in_small_parts")
def test_users_of_a_file_are_asked_for_once_each(models, frame, tmp_path):
    source, out = tmp_path / "users.csv", tmp_path / "lists.tsv"
    users = [f"u{user}" for user in range(40)]
    source.write_text("\n".join(["user", *users, "stranger", *users]) + "\n")
    result = run("recommend", models["als"], source, "--k", 2, "--out", out, "--json")
    assert json.loads(result.stdout) == {"file": str(out), "users": 40, "rows": 80}
    assert "1 ids in" in result.stderr
    found = pl.read_csv(out, separator="\t")
    expected = in_python(models["als"], users=users, k=2)
    assert found["item_id"].to_list() == expected["item_id"].to_list()
    assert found["user_id"].to_list() == expected["user_id"].to_list()


@pytest.mark.usefixtures("in_small_parts")
def test_without_a_file_all_users_of_the_model_are_asked_for(models, tmp_path):
    out = tmp_path / "lists.parquet"
    run("recommend", models["autoencoder"], "--k", 2, "--out", out, "--titles")
    expected = in_python(models["autoencoder"], k=2, titles=True)
    assert_frame_equal(pl.read_parquet(out), expected, check_dtypes=False)


def test_items_without_a_column_of_items_are_users(models, ratings, tmp_path):
    out = tmp_path / "lists.parquet"
    run("recommend", models["als"], ratings, "--item", "", "--k", 1, "--out", out)
    assert len(pl.read_parquet(out)) == 60


def test_histories_weigh_as_in_training(models, ratings, frame, tmp_path):
    out = tmp_path / "lists.parquet"
    run("recommend", models["weighted"], ratings, "--k", 24, "--out", out)
    found = pl.read_parquet(out)
    light = frame.filter(pl.col("rating") < 3)
    pairs = set(found.select("user_id", "item_id").rows())
    known = set(recoder.load(models["weighted"]).item_ids.ids.to_pylist())
    assert any(film in known for film in light["film"])
    assert all(pair in pairs for pair in light.select("user", "film").rows() if pair[1] in known)


def test_users_without_anything_left_get_what_is_popular(models, tmp_path):
    source, out = tmp_path / "histories.csv", tmp_path / "lists.csv"
    source.write_text("user,item,rating\nx,4,1\ny,2,5\nz,999,5\n")
    result = run("recommend", models["weighted"], source, "--k", 3, "--out", out)
    assert "1 of 3 interactions are with items that the model does not know" not in result.stderr
    assert "1 of 2 interactions are with items that the model does not know: left out" in result.stderr
    found = pl.read_csv(out)
    lists = {user[0]: rows["item_id"].to_list() for user, rows in found.group_by("user_id", maintain_order=True)}
    assert list(lists) == ["x", "y", "z"]
    assert lists["x"] == lists["z"] != lists["y"]


def test_histories_without_weights_are_refused_where_training_looked_at_them(models, tmp_path):
    source, out = tmp_path / "histories.csv", tmp_path / "lists.csv"
    source.write_text("user,item\nx,4\ny,2\n")
    asked = ["recommend", models["weighted"], source, "--k", 3, "--out", out]
    said = run(*asked, code=2).stderr.splitlines()[-1]
    assert "only interactions that weigh at least 3 count" in said
    assert "has no column that is named like weights; say which it is with --weight" in said
    assert not out.exists()
    run(*asked, "--min-weight", 0)
    expected = in_python(models["weighted"], histories=[[4], [2]], k=3)
    assert pl.read_csv(out)["item_id"].to_list() == expected["item_id"].to_list()


def test_they_are_refused_too_where_weights_counted(ratings, tmp_path):
    model, source, out = (tmp_path / name for name in ("als.model", "histories.csv", "lists.csv"))
    run("train", ratings, "--model", "als", "--set", "embedding_size=4", "--weights", "--out", model)
    source.write_text("user,item\nx,4\ny,2\n")
    said = run("recommend", model, source, "--k", 3, "--out", out, code=2).stderr
    assert "weights are to count" in said
    assert "say which it is with --weight" in said
    assert not out.exists()
    source.write_text("user,item,rating\nx,4,2\ny,2,5\n")
    run("recommend", model, source, "--k", 3, "--out", out)
    assert pl.read_csv(out)["user_id"].unique().len() == 2


def test_where_nothing_weighs_enough_it_is_said(models, tmp_path):
    source, out = tmp_path / "histories.csv", tmp_path / "lists.csv"
    source.write_text("user,item,rating\nx,4,0.9\ny,2,1\n")
    said = run("recommend", models["weighted"], source, "--k", 3, "--out", out).stderr
    assert "no interaction in" in said
    assert "weighs at least 3: everybody gets what is popular" in said


def test_weights_that_do_not_count_are_not_read(models, tmp_path):
    source, out = tmp_path / "histories.csv", tmp_path / "lists.csv"
    source.write_text("user,item,rating\n" + f"{'x' * 5000},4,5\n" * 1000 + "y,2,good\n")
    run("recommend", models["bare"], source, "--k", 3, "--out", out)
    assert len(pl.read_csv(out)) == 6


def test_weights_may_be_whole_numbers_for_megabytes(models, tmp_path):
    source, out = tmp_path / "histories.csv", tmp_path / "lists.csv"
    source.write_text("user,item,rating\n" + f"{'x' * 5000},4,5\n" * 1000 + "y,2,4.5\n")
    run("recommend", models["weighted"], source, "--k", 3, "--out", out)
    assert pl.read_csv(out)["user_id"].unique().len() == 2


@pytest.fixture(scope="module")
def text_model(tmp_path_factory):
    """A model whose ids of users and items are text that looks like numbers, with leading zeros."""
    folder = tmp_path_factory.mktemp("text")
    rows = [f"{user:03},{item:03}\n" for user in range(12) for item in range(user % 2, 12, 2) if (user + item) % 5]
    (folder / "data.csv").write_text("user,item\n" + "".join(rows))
    model = folder / "a.model"
    run("train", folder / "data.csv", "--model", "ease", "--text-ids", "--histories", "--out", model)
    return model


@pytest.mark.usefixtures("in_small_parts")
@pytest.mark.parametrize("separator", [",", "::"])
def test_ids_of_files_are_text_where_those_of_the_model_are(text_model, tmp_path, separator):
    out = tmp_path / "lists.parquet"

    def file(name, *lines):
        (tmp_path / name).write_text("".join(f"{line}\n".replace(",", separator) for line in lines))
        return tmp_path / name

    histories = file("histories.csv", "user,item", "07,004", "8,005")
    some = file("some.csv", "item,n", "002,1", "003,1", "006,1", "007,1")
    more = ["--k", 2, "--out", out, "--separator", separator]
    run("recommend", text_model, histories, "--candidates", some, *more)
    expected = in_python(
        text_model, histories={"07": ["004"], "8": ["005"]}, k=2, candidates=["002", "003", "006", "007"]
    )
    assert_frame_equal(pl.read_parquet(out), expected, check_dtypes=False)
    run("recommend", text_model, file("users.csv", "user,n", "003,1", "010,1"), *more)
    expected = in_python(text_model, users=["003", "010"], k=2)
    assert_frame_equal(pl.read_parquet(out), expected, check_dtypes=False)


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string())])
def test_text_of_whole_numbers_is_read_as_ids_of_a_model_that_has_such(models, tmp_path, kind):
    table = pa.table({"user": ["007", "8"], "item": pa.array(["4", " 5"]).cast(kind)})
    parquet.write_table(table, tmp_path / "histories.parquet")
    out = tmp_path / "lists.parquet"
    run("recommend", models["bare"], tmp_path / "histories.parquet", "--k", 2, "--out", out)
    expected = in_python(models["bare"], histories={"007": [4], "8": [5]}, k=2)
    assert_frame_equal(pl.read_parquet(out), expected, check_dtypes=False)


def test_the_form_of_text_files_holds_for_lists_of_items_too(models, tmp_path):
    (tmp_path / "some.txt").write_bytes("é;2\nü;4\nö;6\n".encode("latin-1"))
    asked = ["recommend", models["bare"], "--history", "2", "--candidates", tmp_path / "some.txt", "--json"]
    said = json.loads(run(*asked, "--names", "name,item", "--separator", ";", "--encoding", "latin-1").stdout)
    assert {row["item_id"] for row in said} == {4, 6}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("user,item\nx,901\ny,902\n", "none of the 2 interactions in"),
        ("user,item\nx,901\ny,902\n", "is with an item of the model, such as"),
        ("user,item\nx,2\ny,A7\n", "holds what is no id of this model, whose ids are whole numbers"),
        ("user\nx\ny\n", "no user in"),
    ],
)
def test_a_file_that_shares_no_ids_with_the_model_is_refused(models, tmp_path, content, said):
    source, out = tmp_path / "asked.csv", tmp_path / "lists.csv"
    source.write_text(content)
    assert said in run("recommend", models["ease"], source, "--out", out, code=2).stderr.splitlines()[-1]
    assert [path.name for path in tmp_path.iterdir()] == ["asked.csv"]


def test_parts_hold_all_rows_of_their_users(tmp_path, monkeypatch):
    monkeypatch.setattr(histories, "_ROWS_IN_MEMORY", 500)
    monkeypatch.setattr(histories, "_ROWS_AT_ONCE", 100)
    rng = np.random.default_rng(1)
    for users in (rng.integers(0, 300, 2000) * 64, np.char.add("user", rng.integers(0, 300, 2000).astype(str))):
        table = pa.table({"user": users, "item": np.arange(2000)})
        parquet.write_table(table, tmp_path / "a.parquet")
        parts = list(whole_histories(resolved(DataConfig(path=str(tmp_path / "a.parquet"))), tmp_path / "out.csv"))
        assert 20 < len(parts) <= 64
        owners = [set(part["user"].to_pylist()) for part in parts]
        assert sum(map(len, owners)) == len(set.union(*owners))
        rows = {(user, item) for part in parts for user, item in zip(*part.to_pydict().values(), strict=True)}
        assert rows == set(zip(users.tolist(), range(2000), strict=True))
        assert max(map(len, parts)) < 500
    assert [path.name for path in tmp_path.iterdir()] == ["a.parquet"]


MEMORY = """
import sys
import numpy as np, pyarrow as pa
from pyarrow import parquet
from typer.testing import CliRunner
import recoder
from recoder.cli.app import app

folder, num_users = sys.argv[1], 60_000
rng = np.random.default_rng(1)
data = {"user": np.repeat(np.arange(num_users), 30), "item": rng.integers(0, 10_000, num_users * 30)}
parquet.write_table(pa.table(data), f"{folder}/histories.parquet")
few = pa.table({name: values[:60_000] for name, values in data.items()})
known = recoder.Interactions.from_frame(few, user="user", item="item")
recoder.fit(known, hidden_layers=[50], num_epochs=1, seed=1).save(f"{folder}/a.model")
out = f"{folder}/lists.parquet"
result = CliRunner().invoke(
    app, ["recommend", f"{folder}/a.model", f"{folder}/histories.parquet", "--k", "50", "--out", out]
)
assert result.exit_code == 0, result.output
peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(peak.split()[1], parquet.read_metadata(out).num_rows)
"""


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the peak is read from /proc")
def test_sixty_thousand_users_take_less_than_two_gib(tmp_path):
    peak, rows = map(int, Forked(MEMORY, tmp_path).printed().split())
    assert peak < 2 << 20  # 2 GiB; the scores of all users alone would take 2.2
    assert rows == 60_000 * 50


@pytest.mark.parametrize(
    ("name", "arguments", "said"),
    [
        ("bare", ["--for", "u1"], "holds no histories of users, so it cannot answer for their ids; give histories"),
        ("bare", ["--out", "a.parquet"], "holds no histories of users"),
        ("ease", ["--for", "stranger"], "1 of 1 ids are not among the 60 known (such as 'stranger')"),
        ("ease", ["--history", "2,x"], "'x' is no id of this model, whose ids are whole numbers"),
        ("ease", ["--history", "999"], "1 of 1 ids are not among the 24 known (such as '999'); leave them out"),
        ("ease", ["--for", "u1", "--history", "1"], "give either users with --for, or histories with --history"),
        ("ease", ["--for", "u1", "--out", "a.csv"], "--for and --history are answered here; leave FILE and --out out"),
        ("ease", [], "say to whom: --for ID, --history ID,ID,..., or a FILE and --out for its lists"),
        ("ease", ["a.parquet"], "say to whom"),
        ("ease", ["RATINGS", "--out", "a.txt"], "a.txt ends in .txt; files are written as .parquet, .pq, .csv, .tsv"),
        ("ease", ["RATINGS", "--out", "a.csv", "--user", "who"], "has no column 'who' for --user"),
        ("als", ["absent.parquet", "--out", "a.csv"], "recoder: there is no file absent.parquet"),
    ],
)
def test_what_cannot_be_recommended_is_said_in_one_line(models, ratings, tmp_path, monkeypatch, name, arguments, said):
    monkeypatch.chdir(tmp_path)
    result = run("recommend", models[name], *(ratings if each == "RATINGS" else each for each in arguments), code=2)
    assert said in result.stderr.splitlines()[-1]
    assert list(tmp_path.iterdir()) == []


def test_an_interrupt_leaves_no_half_file(models, ratings, tmp_path, monkeypatch):
    def interrupted(*arguments, **more):
        raise KeyboardInterrupt

    monkeypatch.setattr(recoder.FittedModel, "recommend", interrupted)
    result = run("recommend", models["ease"], ratings, "--out", tmp_path / "lists.parquet", code=130)
    assert result.stderr.endswith("recoder: interrupted\n")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--history", "4", "--user", "who"], "--user would say how a file is read, and there is none; give FILE too"),
        (["--history", "4", "--item", "film"], "--item would say how a file is read"),
        (["--history", "4", "--min-weight", "3"], "--min-weight would say how a file is read"),
        (["--out", "lists.csv", "--weight", "rating"], "--weight would say how a file is read"),
        (["--history", "4", "--quote", ""], "--quote would say how a file is read"),
    ],
)
def test_what_would_be_said_of_no_file_is_refused(models, arguments, said):
    assert said in run("recommend", models["ease"], *arguments, code=2).stderr


def test_the_column_of_items_may_be_that_of_one_file_alone(models, tmp_path):
    histories, films, out = tmp_path / "histories.csv", tmp_path / "films.csv", tmp_path / "lists.csv"
    histories.write_text("user,film_no\nx,4\ny,2\n")
    films.write_text("item\n6\n8\n")
    run("recommend", models["ease"], histories, "--item", "film_no", "--candidates", films, "--k", 2, "--out", out)
    assert set(pl.read_csv(out)["item_id"]) <= {6, 8}
    films.write_text("film_no\n6\n8\n")
    run("recommend", models["ease"], histories, "--item", "film_no", "--candidates", films, "--k", 2, "--out", out)
    assert set(pl.read_csv(out)["item_id"]) <= {6, 8}
    films.write_text("number\n6\n8\n")
    arguments = ["--item", "film_no", "--candidates", films, "--k", 2, "--out", out]
    assert "has no column 'film_no'" in run("recommend", models["ease"], histories, *arguments, code=2).stderr
    films.write_text("item\n6\n8\n")
    asked = ["--history", "4", "--item", "flm", "--candidates", films]
    assert "has no column 'flm'" in run("recommend", models["ease"], *asked, code=2).stderr


def test_weights_count_where_a_model_of_python_learnt_from_them(frame, tmp_path):
    weighted = recoder.Interactions.from_frame(frame, user="user", item="film", weight="rating")
    path, source, out = tmp_path / "als.model", tmp_path / "histories.parquet", tmp_path / "lists.parquet"
    frame.with_columns(user="x" + pl.col("user")).write_parquet(source)
    lists = {}
    for name, learnt in (("weighted", weighted), ("binary", weighted.binarize())):
        model = recoder.fit(learnt, "als", embedding_size=8, seed=1)
        assert model.about.with_weights == (name == "weighted")
        model.save(path)
        run("recommend", path, source, "--k", 5, "--out", out)
        lists[name] = pl.read_parquet(out)["score"].to_numpy()
        asked = recoder.Interactions.from_frame(pl.read_parquet(source), user="user", item="film", weight="rating")
        expected = model.recommend(histories=asked if name == "weighted" else asked.binarize(), k=5)
        np.testing.assert_allclose(lists[name], expected["score"].to_numpy(), rtol=1e-4, atol=1e-5)
    assert not np.allclose(lists["weighted"], lists["binary"], atol=1e-3)
