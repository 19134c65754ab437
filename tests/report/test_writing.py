from __future__ import annotations

import re
import sys
from dataclasses import replace
from html import escape
from pathlib import Path

import pytest

import recoder
from recoder.errors import ConfigError, FileWriteError, MissingDependencyError
from recoder.nn import DynamicAutoencoder
from recoder.report import write_report
from report.conftest import frame
from report.pages import read

ALL = ["", "data", "training", "accuracy", "activity", "breadth", "users", "map", "settings"]
NASTY = '<script>alert("{}")</script>&amp;\'"'


def test_every_part_is_there_where_its_data_is(page_file):
    page = read(page_file)
    assert list(page.parts) == ALL
    assert page.links == [f"#{name}" for name in ALL[1:]]
    assert page.parts[""].headings == ["autoencoder, trained on 200 users and 40 items"]


@pytest.mark.parametrize(
    ("name", "has_test", "is_loaded", "absent"),
    [
        ("autoencoder", False, False, {"accuracy", "activity", "breadth"}),
        ("autoencoder", False, True, {"accuracy", "activity", "breadth", "users"}),
        ("autoencoder", True, True, set()),
        ("ease", True, False, {"map"}),
        ("popularity", True, False, {"map"}),
        ("als", True, True, set()),
    ],
)
def test_a_part_is_absent_where_its_data_is(fitted, split, tmp_path, name, has_test, is_loaded, absent):
    model = fitted[name]
    if is_loaded:
        model = recoder.load(model.save(tmp_path / "a.model"))
    page = read(write_report(model, tmp_path / "a.html", test=split.test if has_test else None))
    assert set(page.parts) == set(ALL) - absent


def test_there_is_no_map_without_titles(split, tmp_path):
    train = replace(split.train, titles=None)
    model = recoder.fit(train, "als", embedding_size=4)
    page = read(model.report(tmp_path / "a.html", test=split.test))
    assert "map" not in page.parts
    assert page.parts["users"].lists[0][0].startswith("m")


def test_the_head_says_what_it_is_a_report_of(page_file, fitted):
    facts = read(page_file).parts[""].tiles
    assert facts["recipe"] == "autoencoder"
    assert facts["model"] == "DynamicAutoencoder"
    assert facts["seed"] == "3"
    assert facts["Recoder"] == recoder.__version__
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", facts["made on"])


def test_settings_are_those_of_the_model_and_its_training(page_file):
    tables = read(page_file).parts["settings"].tables
    assert ["hidden_layers", "[8]"] in tables["DynamicAutoencoder"]
    assert ["num_epochs", "6"] in tables["Training"]
    assert ["loss", "logistic"] in tables["Training"]
    assert ["seed", "3"] in tables["Training"]


def test_a_model_of_ones_own_is_told_by_its_class(split, tmp_path):
    model = recoder.fit(split.train, DynamicAutoencoder([4]), optimizer_type="adam", loss="logloss", num_epochs=1)
    page = read(model.report(tmp_path / "a.html"))
    assert "recipe" not in page.parts[""].tiles
    assert page.parts[""].headings[0].startswith("DynamicAutoencoder, ")


def test_markup_in_ids_and_titles_stays_text(tmp_path):
    data = frame(title=NASTY)
    data["user"] = "<b>" + data["user"]
    interactions = recoder.Interactions.from_frame(data, user="user", item="item", title="title")
    train, _, test = interactions.split("strong", num_valid_users=20, num_test_users=40, seed=2)
    page = read(write_report(recoder.fit(train, "als", embedding_size=4, seed=1), tmp_path / "a.html", test=test))
    assert "<script" not in page.html
    assert "<b>u" not in page.html
    assert escape(NASTY.format("m0")) in page.html.replace("&#34;", "&quot;").replace("&#39;", "&#x27;")
    assert any(NASTY.format("m0") in title for title in page.titles)
    assert any(heading.startswith("User <b>u") for heading in page.parts["users"].headings)


def test_the_page_asks_nothing_of_any_server(page_file):
    page = read(page_file)
    assert "http:" not in page.html
    assert "https:" not in page.html
    assert "@import" not in page.html
    assert {tag for tag, _ in page.tags} & {"script", "img", "iframe", "object", "embed", "form"} == set()
    assert re.findall(r"url\(", page.html) == []
    hrefs = [given["href"] for _, given in page.tags if "href" in given]
    assert [href for href in hrefs if not href.startswith("#")] == ["data:,"]
    policies = [given["content"] for _, given in page.tags if given.get("http-equiv") == "Content-Security-Policy"]
    assert policies == ["default-src 'none'; style-src 'unsafe-inline'; img-src data:"]


def test_the_page_is_well_formed_and_its_headings_are_in_order(page_file):
    page = read(page_file)
    assert page.levels[0] == 1
    assert page.levels.count(1) == 1
    assert all(after <= before + 1 for before, after in zip(page.levels, page.levels[1:], strict=False))
    assert len(page.ids) == len(set(page.ids))
    assert {given["lang"] for tag, given in page.tags if tag == "html"} == {"en"}


def test_every_chart_says_what_it_shows(page_file):
    pictures = [given for tag, given in read(page_file).tags if tag == "svg"]
    assert len(pictures) == 10
    assert all(given["role"] == "img" and len(given["aria-label"]) > 20 for given in pictures)


def test_two_reports_of_one_model_are_equal_and_leave_it_as_it_was(fitted, split, tmp_path):
    model = fitted["autoencoder"]
    told = list(model.about.metrics)
    pages = [read(write_report(model, tmp_path / f"{n}.html", test=split.test, num_users=5, seed=1)) for n in range(2)]
    assert pages[0].html == pages[1].html
    assert model.about.metrics == told
    other = read(write_report(model, tmp_path / "c.html", test=split.test, num_users=5, seed=2))
    assert other.parts["users"].headings != pages[0].parts["users"].headings


def test_the_method_writes_the_same_page(fitted, split, tmp_path):
    path = fitted["als"].report(tmp_path / "a.html", test=split.test)
    assert path == str(tmp_path / "a.html")
    assert Path(path).read_text() == Path(write_report(fitted["als"], tmp_path / "b.html", test=split.test)).read_text()


def test_wrong_arguments_are_said_before_anything_is_written(fitted, tmp_path):
    for wrong in ({"num_users": 0}, {"seed": -1}):
        with pytest.raises(ConfigError):
            write_report(fitted["ease"], tmp_path / "a.html", **wrong)
    (tmp_path / "folder").mkdir()
    with pytest.raises(FileWriteError):
        write_report(fitted["ease"], tmp_path / "folder")
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_a_missing_jinja2_is_said_with_the_extra(fitted, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(MissingDependencyError, match=r"recsys-recoder\[report\]"):
        fitted["ease"].report(tmp_path / "a.html")
