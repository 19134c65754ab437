from __future__ import annotations

import json
import re

import polars as pl
import pytest

import recoder
from cli_support import run
from recoder.embedding import AnnoyEmbeddingsIndex, ExactEmbeddingsIndex, VoyagerEmbeddingsIndex


def load(path):
    return recoder.load(path, library="polars")


def test_similar_items_and_users_are_those_of_python(models):
    path = models["autoencoder"]
    told = json.loads(run("similar", path, "2", "5", "--k", 3, "--json").stdout)
    assert told == load(path).similar_items([2, 5], 3, titles=True).to_dicts()
    told = json.loads(run("similar", path, "u3", "--users", "--k", 2, "--json").stdout)
    assert told == load(path).similar_users(["u3"], 2).to_dicts()


def test_similar_items_are_shown_with_titles(models):
    shown = run("similar", models["autoencoder"], "2", "5", "--k", 2).stdout
    assert "┃ similar to item ┃ rank ┃ item ┃ title" in shown
    assert shown.count("│ 2 ") >= 2
    assert "Film " in shown
    assert "similar to user" in run("similar", models["autoencoder"], "u3", "--users").stdout


def test_explanations_are_those_of_python(models):
    path = models["autoencoder"]
    told = json.loads(run("explain", path, "4", "--history", "2, 7,8", "--json").stdout)
    assert told == load(path).explain(history=[2, 7, 8], item=4, titles=True).to_dicts()
    told = json.loads(run("explain", path, "4", "--for", "u5", "--json").stdout)
    assert told == load(path).explain(user="u5", item=4, titles=True).to_dicts()
    shown = run("explain", path, "4", "--history", "2,7,8").stdout
    assert "┃ rank ┃ own item ┃ title  ┃ score without it falls by ┃" in shown
    assert "├" not in shown


@pytest.mark.parametrize(
    ("kind", "made"),
    [("exact", ExactEmbeddingsIndex), ("voyager", VoyagerEmbeddingsIndex), ("annoy", AnnoyEmbeddingsIndex)],
)
def test_an_index_finds_the_similar_items_of_the_model(models, tmp_path, kind, made):
    out = tmp_path / "films.index"
    told = json.loads(run("index", models["autoencoder"], "--kind", kind, "--out", out, "--json").stdout)
    assert told == {"file": str(out), "kind": kind, "items": 24, "factors": 16}
    index = made()
    index.load(out)
    expected = load(models["autoencoder"]).similar_items([2], 5)["similar_item_id"].to_list()
    assert index.get_nns_by_id(2, 6) == [2, *expected]
    shown = run("index", models["autoencoder"], "--kind", kind, "--out", out).stdout
    assert shown == f"24 items of 16 factors in {out} ({kind})\n"


def test_titles_may_look_like_markup(tmp_path):
    titles = ["[bold]", "[/]", "[red]x"]
    frame = pl.DataFrame({"user": [1, 1, 2, 2], "item": [1, 2, 2, 3], "title": [titles[i] for i in (0, 1, 1, 2)]})
    frame.write_parquet(tmp_path / "a.parquet")
    run("train", tmp_path / "a.parquet", "--model", "ease", "--out", tmp_path / "a.model")
    shown = run("recommend", tmp_path / "a.model", "--history", "2").stdout
    assert "[bold]" in shown
    assert "[red]x" in shown


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["similar", "ease", "x"], "'x' is no id of this model, whose ids are whole numbers"),
        (["similar", "ease", "999"], "1 of 1 ids are not among the 24 known (such as '999'); leave them out"),
        (["explain", "ease", "4", "--history", "2,--3"], "'--3' is no id of this model, whose ids are whole numbers"),
        (["similar", "bare", "u1", "--users"], "holds no histories of users"),
        (["explain", "ease", "4"], "say to whom the item is recommended: either --for ID or --history ID,ID,..."),
        (["explain", "ease", "4", "--for", "u1", "--history", "2"], "either --for ID or --history"),
        (["explain", "bare", "4", "--for", "u1"], "holds no histories of users"),
        (["index", "ease", "--out", "a.index"], "is of EASE, which has no factors of items to search"),
    ],
)
def test_what_cannot_be_answered_is_said_in_one_line(models, tmp_path, monkeypatch, arguments, said):
    monkeypatch.chdir(tmp_path)
    result = run(arguments[0], models[arguments[1]], *arguments[2:], code=2)
    assert said in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "command", [["evaluate"], ["recommend", "--history", "1"], ["similar", "1"], ["explain", "1", "--for", "1"]]
)
def test_a_foreign_model_file_is_refused_in_one_line(tmp_path, command):
    (tmp_path / "a.model").write_bytes(b"something else")
    result = run(command[0], tmp_path / "a.model", *command[1:], code=2)
    assert result.stderr.count("\n") == 1
    assert "a.model is no model file; recoder train writes one" in result.stderr
    absent = run(command[0], tmp_path / "absent", *command[1:], code=2).stderr
    assert "there is no file" in absent
    assert "save_state" not in absent


def test_a_model_that_looks_users_up_answers_without_histories(ratings, tmp_path):
    path = tmp_path / "a.model"
    run("train", ratings, "--model", "als", "--set", "fold_in=false", "--set", "embedding_size=8", "--out", path)
    assert len(json.loads(run("similar", path, "u1", "--users", "--k", 3, "--json").stdout)) == 3
    asked = ["recommend", path, "--for", "u1", "--json"]
    assert len(json.loads(run(*asked, "--keep-seen").stdout)) == 10
    assert "holds no histories" in run(*asked, code=2).stderr
    run("recommend", path, "--keep-seen", "--out", tmp_path / "all.parquet")


def test_no_answer_is_none_for_people_and_for_programs(models, tmp_path):
    (tmp_path / "some.txt").write_text("film\n2\n")
    asked = ["recommend", models["ease"], "--history", "2", "--candidates", tmp_path / "some.txt"]
    assert json.loads(run(*asked, "--json").stdout) == []
    assert "there is no answer" in run(*asked).stderr


def test_empty_places_of_a_history_do_not_count(models):
    asked = ["explain", models["ease"], "4", "--json", "--history"]
    assert run(*asked, "2,6,").stdout == run(*asked, "2,6").stdout


def test_items_that_have_one_number_each_are_not_indexed(ratings, tmp_path):
    run("train", ratings, "--model", "popularity", "--out", tmp_path / "p.model")
    said = run("index", tmp_path / "p.model", "--out", tmp_path / "p.index", code=2).stderr
    assert "is of Popularity, whose items have a single number each" in said
    assert not (tmp_path / "p.index").exists()


def test_long_ids_are_shown_whole(tmp_path):
    ids = [f"{item}50e8400-e29b-41d4-a716-446655440000-and-more" for item in range(3)]
    pl.DataFrame({"user": [1, 1, 2, 2], "item": [ids[i] for i in (0, 1, 1, 2)]}).write_parquet(tmp_path / "a.parquet")
    run("train", tmp_path / "a.parquet", "--model", "ease", "--out", tmp_path / "a.model")
    shown = re.sub(r"[\s│]", "", run("similar", tmp_path / "a.model", ids[0]).stdout)
    assert "…" not in shown
