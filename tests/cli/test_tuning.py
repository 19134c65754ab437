from __future__ import annotations

import json

import pytest

import recoder
from cli_support import run

FEW = ("--model", "als", "--set", "embedding_size=4", "--valid", 10, "--test", 10, "--metric", "NDCG@5")


@pytest.fixture(scope="module")
def tuned(ratings, tmp_path_factory):
    out = tmp_path_factory.mktemp("tuned") / "best.model"
    told = json.loads(run("tune", ratings, *FEW, "--trials", 3, "--out", out, "--json").stdout)
    return out, told


def test_the_best_model_is_saved_and_answers(tuned):
    out, told = tuned
    assert len(told["trials"]) == 3
    values = [trial["NDCG@5"] for trial in told["trials"] if trial["state"] == "complete"]
    assert told["trials"][told["best_trial"]]["NDCG@5"] == max(values)
    model = recoder.load(out)
    assert model.about.recipe == "als"
    assert model.recoder.model.embedding_size == 4
    assert len(model.recommend(histories=[["u0"]], unknown="drop", k=3)) == 3
    assert told["test"]["metrics"]["NDCG@5"] == model.about.metrics[-1]["metrics"]["NDCG@5"]


def test_the_configuration_that_is_kept_has_the_best_settings(tuned, tmp_path):
    out, told = tuned
    kept = recoder.load(out).about.more["config"]["model"]["settings"]
    for name, value in told["best_settings"].items():
        assert kept[name] == value


def test_a_study_goes_on_with_more_trials(ratings, tuned):
    out, told = tuned
    more = json.loads(run("tune", ratings, *FEW, "--trials", 4, "--out", out, "--json").stdout)
    assert more["trials"][:3] == told["trials"]
    assert len(more["trials"]) == 4
    other = run("tune", ratings, "--model", "ease", *FEW[4:], "--trials", 4, "--out", out, code=2)
    assert "study" in other.stderr


def test_people_see_the_trials(ratings, tuned):
    out, _ = tuned
    shown = run("tune", ratings, *FEW, "--trials", 3, "--out", out).stdout
    assert "the best is trial" in shown
    assert "NDCG@5" in shown


def test_what_is_missing_is_said(ratings, tmp_path):
    assert "--out" in run("tune", ratings, *FEW, "--trials", 1, code=2).stderr
    out = ("--out", tmp_path / "a.model", "--trials", 1)
    assert "--valid" in run("tune", ratings, *FEW[:4], "--valid", 0, *out, code=2).stderr
    assert "did you mean" in run("tune", ratings, *FEW, "--set", "embeding_size=3", *out, code=2).stderr
