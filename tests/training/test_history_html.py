from __future__ import annotations

import base64
import math
import re
import sys
from dataclasses import replace

from html_tables import read_html
from recoder.training import EpochRecord, History

RECORD = EpochRecord(
    1, 12.5, 0.01, 2.0, val_loss=9.25, metrics={"NDCG@5": 0.5, "own": 0.25}, metric_errors={"NDCG@5": 0.125}
)


def history(num_epochs, record=RECORD):
    return History([replace(record, epoch=epoch) for epoch in range(1, num_epochs + 1)])


def test_a_history_is_a_table_of_its_epochs():
    records = [EpochRecord(1, 13.5, 0.01, 2.0), replace(RECORD, epoch=2)]
    assert read_html(History(records)._repr_html_()).rows == [
        ["epoch", "loss", "val_loss", "NDCG@5", "own", "lr", "seconds"],
        ["1", "13.5000", "", "", "", "0.01", "2.0"],
        ["2", "12.5000", "9.2500", "0.5000 ± 0.1250", "0.2500", "0.01", "2.0"],
    ]


def test_columns_that_would_be_empty_are_left_out():
    assert read_html(History([EpochRecord(1, math.nan, 0.01, 2.0)])._repr_html_()).rows == [
        ["epoch", "loss", "lr", "seconds"],
        ["1", "", "0.01", "2.0"],
    ]


def test_of_many_epochs_the_first_the_last_and_the_best_are_shown():
    many = history(40)
    many.best_epoch = 20
    found = read_html(many._repr_html_())
    first = [row[0] for row in found.rows[1:]]
    assert first == ["1", "2", "3", "…", "20", "…", *map(str, range(32, 41))]
    assert found.bold[0] == "20"
    assert {len(row) for row in found.rows} == {7}
    assert found.captions == ["the model has the weights of epoch 20"]
    assert [row[0] for row in read_html(history(12)._repr_html_()).rows[1:]] == [str(epoch) for epoch in range(1, 13)]


def test_the_curves_are_a_picture_beside_the_table():
    html = history(3)._repr_html_()
    picture = base64.b64decode(re.search(r"data:image/svg\+xml;base64,([^\"]*)\"", html).group(1)).decode()
    assert picture.lstrip().startswith("<?xml")
    assert "</svg>" in picture
    assert "<img" not in history(1)._repr_html_()  # a point is no curve


def test_without_matplotlib_the_table_stands_alone(monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    html = history(3)._repr_html_()
    assert "<img" not in html
    assert len(read_html(html).rows) == 4


def test_before_the_first_epoch_it_says_so():
    assert read_html(History()._repr_html_()).captions == ["no epoch yet"]
