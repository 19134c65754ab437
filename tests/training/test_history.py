from __future__ import annotations

import json
import math
import sys

import pytest

from recoder.errors import ConfigError, EmptyDataError, FileWriteError, MissingDependencyError
from recoder.training.history import EpochRecord, History

RECORDS = [
    EpochRecord(1, loss=90.5, lr=0.1, seconds=2.0, val_loss=80.0),
    EpochRecord(
        2,
        loss=70.25,
        lr=0.1,
        seconds=2.0,
        val_loss=75.0,
        metrics={"NDCG@10": 0.25, "Recall@5": 0.5},
        metric_errors={"NDCG@10": 0.01, "Recall@5": 0.02},
    ),
    EpochRecord(
        3,
        loss=60.0,
        lr=0.01,
        seconds=1.5,
        val_loss=74.0,
        metrics={"NDCG@10": 0.3, "Recall@5": 0.55},
        metric_errors={"NDCG@10": 0.01, "Recall@5": 0.02},
    ),
]


def test_a_history_is_the_sequence_of_its_epochs():
    history = History()
    for record in RECORDS:
        history.append(record)
    assert len(history) == 3
    assert list(history) == RECORDS
    assert history[-1] is RECORDS[2]
    assert history[1:] == RECORDS[1:]
    assert RECORDS[0] in history


def test_appending_does_not_change_the_list_it_was_made_of():
    records = RECORDS[:1]
    History(records).append(RECORDS[1])
    assert len(records) == 1


def test_epoch_reads_as_a_line():
    assert str(RECORDS[0]) == "epoch 1, loss 90.5000, val_loss 80.0000, lr 0.1, 2.0 s"
    assert str(RECORDS[1]) == (
        "epoch 2, loss 70.2500, val_loss 75.0000, NDCG@10 0.2500 ± 0.0100, Recall@5 0.5000 ± 0.0200, lr 0.1, 2.0 s"
    )
    assert str(EpochRecord(4, loss=1.0, lr=1e-4, seconds=0.0)) == "epoch 4, loss 1.0000, lr 0.0001, 0.0 s"
    assert str(EpochRecord(4, loss=1.0, lr=0.0, seconds=0.0)) == "epoch 4, loss 1.0000, 0.0 s"
    without_error = {"metrics": {"Coverage@9": 0.25}, "metric_errors": {"Coverage@9": math.nan}}
    assert str(EpochRecord(5, loss=1.0, lr=0.1, seconds=0.0, **without_error)) == (
        "epoch 5, loss 1.0000, Coverage@9 0.2500, lr 0.1, 0.0 s"
    )


def test_history_reads_as_lines():
    assert repr(History(RECORDS)).splitlines() == [str(record) for record in RECORDS]
    assert repr(History()) == "no epoch yet"


def test_json_gives_the_history_back():
    stored = json.dumps(History(RECORDS).to_json(), allow_nan=False)
    assert list(History.from_json(json.loads(stored))) == RECORDS


def test_numbers_that_are_not_finite_pass_through_json_as_nan():
    record = EpochRecord(
        1,
        loss=math.nan,
        lr=0.1,
        seconds=0.0,
        metrics={"own": math.nan, "NDCG@10": 0.5},
        metric_errors={"own": math.nan, "NDCG@10": math.nan},
    )
    (back,) = History.from_json(json.loads(json.dumps(History([record]).to_json(), allow_nan=False)))
    assert math.isnan(back.loss)
    assert back.val_loss is None
    assert math.isnan(back.metrics["own"])
    assert back.metrics["NDCG@10"] == 0.5
    assert math.isnan(back.metric_errors["NDCG@10"])
    assert str(back) == str(record)


@pytest.mark.parametrize("count", [1, 3])
def test_plot_is_a_png_with_a_line_for_each_series(tmp_path, count):
    pytest.importorskip("matplotlib")
    path = tmp_path / "history.png"
    figure = History(RECORDS[-count:]).plot(path)
    assert path.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    lines = {line.get_label(): line.get_xydata().tolist() for axis in figure.axes for line in axis.get_lines()}
    expected = {
        "training": [[r.epoch, r.loss] for r in RECORDS[-count:]],
        "validation (right scale)": [[r.epoch, r.val_loss] for r in RECORDS[-count:]],
        "NDCG@10": [[2, 0.25], [3, 0.3]][-count:],
        "Recall@5": [[2, 0.5], [3, 0.55]][-count:],
    }
    assert lines == expected
    legends = [axis.get_legend() for axis in figure.axes if axis.get_legend()]
    assert [text.get_text() for legend in legends for text in legend.get_texts()] == list(expected)


def test_plot_without_validation_or_metrics_has_one_line_and_writes_nothing(tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    monkeypatch.chdir(tmp_path)
    (axis,) = History([EpochRecord(1, loss=2.0, lr=0.1, seconds=0.0)]).plot().axes
    assert [line.get_label() for line in axis.get_lines()] == ["training"]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "written", "head"),
    [
        ("new/a.svg", "new/a.svg", b"<?xml"),
        ("a.PDF", "a.PDF", b"%PDF"),
        ("a", "a.png", b"\x89PNG"),
    ],
)
def test_plot_writes_what_the_ending_says(tmp_path, name, written, head):
    pytest.importorskip("matplotlib")
    History(RECORDS).plot(str(tmp_path / name))
    assert (tmp_path / written).read_bytes().startswith(head)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [tmp_path / written]


def test_plot_that_cannot_be_written_leaves_the_one_before(tmp_path, monkeypatch):
    figure = pytest.importorskip("matplotlib.figure").Figure
    path = tmp_path / "history.png"
    History(RECORDS[-1:]).plot(path)
    before = path.read_bytes()
    save = figure.savefig

    def full(self, path, **more):
        save(self, path, **more)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(figure, "savefig", full)
    with pytest.raises(FileWriteError, match=r"cannot write .*history\.png: No space left on device"):
        History(RECORDS).plot(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(("path", "said"), [("a.txt", "a.txt ends in .txt, .* choose one of .*.png"), (5, "path is 5")])
def test_plot_is_not_written_as_something_else_than_a_picture(tmp_path, monkeypatch, path, said):
    pytest.importorskip("matplotlib")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=said):
        History(RECORDS).plot(path)
    assert list(tmp_path.iterdir()) == []


def test_plot_of_no_epochs_is_an_error():
    with pytest.raises(EmptyDataError, match="train first"):
        History().plot()


def test_plot_without_matplotlib_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingDependencyError, match=r"recsys-recoder\[plots\]"):
        History(RECORDS).plot()


@pytest.mark.parametrize(("best", "epoch"), [(None, 3), (2, 2)])
def test_the_epoch_of_the_weights_is_the_best_where_one_was_given_back_and_else_the_last(best, epoch):
    history = History([EpochRecord(number, loss=1.0, lr=0.1, seconds=1.0) for number in (1, 2, 3)])
    history.best_epoch = best
    assert history.of_weights.epoch == epoch
