from __future__ import annotations

import json

from cli_support import run


def test_a_page_is_written_with_the_users_that_training_held_out(ratings, tmp_path):
    model, page = tmp_path / "a.model", tmp_path / "page.html"
    run("train", ratings, "--model", "ease", "--set", "l2=1", "--test", 10, "--out", model)
    told = json.loads(run("report", model, "--out", page, "--json").stdout)
    assert told == {"model": str(model), "report": str(page)}
    text = page.read_text()
    assert text.startswith("<!doctype html>") or text.startswith("<!DOCTYPE html>")
    assert "10" in text
    assert "most popular" in text


def test_without_users_to_judge_by_there_is_a_page_about_the_model(models, tmp_path):
    refused = run("report", models["ease"], "--out", tmp_path / "a.html", code=2)
    assert "without users to test with" in refused.stderr
    shown = run("report", models["ease"], "--bare", "--out", tmp_path / "a.html").stdout
    assert "the report is in" in shown
    assert (tmp_path / "a.html").stat().st_size > 10_000


def test_a_foreign_file_is_said(ratings, tmp_path):
    assert "model file" in run("report", ratings, "--out", tmp_path / "a.html", code=2).stderr
    assert not (tmp_path / "a.html").exists()


def test_a_page_is_not_written_over_the_data_and_options_without_effect_are_refused(models, ratings, tmp_path):
    before = ratings.read_bytes()
    said = run("report", models["ease"], "--out", ratings, "--bare", code=2).stderr
    assert "would be written over" in said
    assert ratings.read_bytes() == before
    out = tmp_path / "a.html"
    assert (
        "--bare judges nobody"
        in run("report", models["ease"], "--bare", "--target", ratings, "--out", out, code=2).stderr
    )
    assert "--user would say" in run("report", models["ease"], "--bare", "--user", "who", "--out", out, code=2).stderr
