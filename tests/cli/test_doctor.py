from __future__ import annotations

import json
from importlib import metadata

import numpy as np
import pyarrow as pa
import pytest
import torch
from pyarrow import parquet
from typer.testing import CliRunner

from cli_support import run
from recoder.cli import planning
from recoder.cli.app import app
from recoder.recipes import RECIPES


def doctor(*arguments):
    return CliRunner().invoke(app, ["doctor", *map(str, arguments)])


@pytest.fixture
def file(tmp_path):
    rng = np.random.default_rng(1)
    pairs = np.unique(rng.integers(0, [150, 60], (2000, 2)), axis=0)
    path = tmp_path / "pairs.parquet"
    parquet.write_table(pa.table({"user": pairs[:, 0], "item": pairs[:, 1]}), path)
    return path


def test_what_is_there_is_told_to_programs():
    found = json.loads(doctor("--json").stdout)
    assert found["torch"] == torch.__version__
    assert found["threads"] == torch.get_num_threads()
    packages = {package["name"]: package for package in found["packages"]}
    assert packages["typer"] == {"name": "typer", "extra": "cli", "version": metadata.version("typer")}
    assert packages["voyager"]["extra"] == "voyager"
    assert "pytest" not in packages


def test_people_are_told_what_to_install(monkeypatch):
    version = metadata.version
    monkeypatch.setattr(metadata, "version", lambda name: _absent(name) if name == "voyager" else version(name))
    shown = doctor().stdout
    assert 'pip install "recsys-recoder[voyager]"' in shown
    assert shown.count("not installed") == 1


def _absent(name):
    raise metadata.PackageNotFoundError(name)


def test_sources_that_are_not_installed_have_no_extras(monkeypatch):
    monkeypatch.setattr(metadata, "requires", _absent)
    assert json.loads(doctor("--json").stdout)["packages"] == []


def test_every_recipe_is_planned_for(file):
    result = doctor("--plan", file, "--json")
    assert result.exit_code == 0, result.output
    planned = json.loads(result.stdout)
    assert [each["recipe"] for each in planned["recipes"]] == list(RECIPES)
    assert all(each["seconds"] > 0 and each["memory"] > 0 and each["fits"] for each in planned["recipes"])
    assert "estimates" in planned["note"]
    assert result.stderr.count("\n") == 1  # the columns; training says nothing


def test_people_read_the_plan(file):
    shown = doctor("--plan", file, "--model", "ease", "--model", "als").stdout
    assert shown.startswith("150 users, 60 items, ")
    assert "│ ease   │" in shown
    assert "│ als    │" in shown
    assert "autoencoder" not in shown
    assert "may be wrong by a factor of three" in shown


def test_columns_that_no_plan_needs_are_not_read(tmp_path):
    path = tmp_path / "pairs.csv"
    rows = [f"{user},{item},31/05/2024,good,\n" for user in range(30) for item in range(user % 2, 12, 2)]
    path.write_text("user,item,date,rating,title\n" + "".join(rows))
    result = doctor("--plan", path, "--model", "ease", "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["users"] == 30
    assert "'date'" not in result.stderr
    assert "'title'" not in result.stderr


def test_what_does_not_fit_is_not_tried_and_ends_in_1(file, monkeypatch):
    monkeypatch.setattr(planning, "available_bytes", lambda: 1000)
    monkeypatch.setattr(planning, "_seconds", None)
    result = doctor("--plan", file, "--model", "ease")
    assert result.exit_code == 1
    assert "does not fit" in result.stdout


def test_an_unknown_recipe_is_refused_before_anything_is_read(tmp_path):
    result = doctor("--plan", tmp_path / "absent", "--model", "eaze")
    assert result.exit_code == 2
    assert result.stderr.startswith("recoder: there is no recipe 'eaze'; choose one of popularity, ")


def test_what_a_plan_would_look_at_is_refused_without_one(ratings, tmp_path):
    assert "say of what: --plan FILE" in run("doctor", "--model", "ease", code=2).stderr
    assert "say of what: --plan FILE" in run("doctor", "--min-weight", 3, code=2).stderr
    toml = tmp_path / "a.toml"
    toml.write_text(f"[data]\npath = '{ratings}'\n")
    planned = json.loads(run("doctor", "--config", toml, "--model", "ease", "--json").stdout)
    assert planned["recipes"][0]["recipe"] == "ease"


def test_weights_that_count_in_training_do_not_stop_a_plan(ratings, tmp_path):
    toml = tmp_path / "als.toml"
    toml.write_text(f"[data]\npath = '{ratings}'\nbinary = false\n")
    planned = json.loads(run("doctor", "--plan", ratings, "--config", toml, "--model", "autoencoder", "--json").stdout)
    assert planned["recipes"][0]["seconds"] > 0
