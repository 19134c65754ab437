from __future__ import annotations

import csv
import json
import os

import pytest

from recoder.callbacks import CSVLog, JSONLinesLog
from recoder.errors import FileWriteError
from recoder.metrics import NDCG, Coverage
from recoder.model import Recoder
from recoder.nn import Popularity
from recoder.training import Callback, EpochReport, History
from recoder.training.history import EpochRecord
from small_runs import recoder, run
from support import TRAIN_DEFAULTS, training_run

LOGS = {"csv": CSVLog, "jsonl": JSONLinesLog}


def rows(path):
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def test_each_line_of_json_is_an_epoch_of_the_history(tmp_path):
    made = run(recoder(), JSONLinesLog(tmp_path / "deep" / "h.jsonl"), metrics=[NDCG(5), Coverage(3)], eval_freq=2)
    lines = (tmp_path / "deep" / "h.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == made.history.to_json()
    again = History.from_json([json.loads(line) for line in lines])
    assert str(again) == str(made.history)


def test_each_row_of_the_table_is_an_epoch_with_every_number_in_full(tmp_path):
    made = run(recoder(), CSVLog(tmp_path / "h.csv"), metrics=[NDCG(5), Coverage(3)], eval_freq=2)
    found = rows(tmp_path / "h.csv")
    names = ["NDCG@5", "NDCG@5 stderr", "Coverage@3", "Coverage@3 stderr"]
    assert list(found[0]) == ["epoch", "loss", "val_loss", "lr", "seconds", *names]
    assert [int(row["epoch"]) for row in found] == [1, 2, 3, 4]
    for row, record in zip(found, made.history, strict=True):
        for name in ("loss", "val_loss", "lr", "seconds"):
            assert float(row[name]) == getattr(record, name)
        assert row["Coverage@3 stderr"] == ""
        if record.epoch % 2:
            assert {row[name] for name in names} == {""}
        else:
            assert float(row["NDCG@5"]) == record.metrics["NDCG@5"]
            assert float(row["NDCG@5 stderr"]) == record.metric_errors["NDCG@5"]


@pytest.mark.parametrize("kind", LOGS)
def test_an_epoch_stands_in_the_file_as_soon_as_it_ends(kind, tmp_path):
    path, lines = tmp_path / "h", []

    class Looks(Callback):
        def on_step_end(self):
            lines.append(len(path.read_text().splitlines()) - (kind == "csv"))

    run(recoder(), LOGS[kind](path), Looks(), num_epochs=2)
    assert lines == [0] * 4 + [1] * 4


class Kill(Callback):
    def __init__(self, event, epoch):
        self.event, self.epoch = event, epoch

    def on_epoch_end(self, report):
        self.hear("on_epoch_end", report)

    def on_checkpoint(self, report):
        self.hear("on_checkpoint", report)

    def hear(self, event, report):
        if (event, report.epoch) == (self.event, self.epoch):
            raise KeyboardInterrupt


def epochs_in(path):
    text = path.read_text()
    if text.startswith("epoch"):
        return [int(row["epoch"]) for row in rows(path)]
    return [json.loads(line)["epoch"] for line in text.splitlines()]


@pytest.mark.parametrize("event", ["on_epoch_end", "on_checkpoint"])
@pytest.mark.parametrize("kind", LOGS)
def test_a_run_that_goes_on_goes_on_in_the_file_with_no_epoch_twice(kind, event, tmp_path):
    path = tmp_path / "h"
    for epoch in (1, 2, 3):
        killed = recoder()
        with pytest.raises(KeyboardInterrupt):
            run(killed, Kill(event, epoch), LOGS[kind](path))
        assert epochs_in(path) == list(range(1, epoch + (event == "on_checkpoint")))
        resumed = recoder()
        resumed.init_from_model_file(killed.save_state(tmp_path / "x"))
        run(resumed, LOGS[kind](path))
        assert epochs_in(path) == [1, 2, 3, 4]


@pytest.mark.parametrize("kind", LOGS)
def test_epochs_that_are_trained_again_from_an_earlier_file_take_the_place_of_the_first_ones(kind, tmp_path):
    path = tmp_path / "h"
    run(recoder(), LOGS[kind](path), model_checkpoint_prefix=tmp_path / "x", checkpoint_freq=2)
    earlier = recoder()
    earlier.init_from_model_file(tmp_path / "x_epoch_2.model")
    run(earlier, LOGS[kind](path), num_epochs=3)
    assert epochs_in(path) == [1, 2, 3]
    assert [record.epoch for record in earlier.history] == [1, 2, 3]


@pytest.mark.parametrize("kind", LOGS)
def test_a_log_that_comes_later_has_the_epochs_before_it_too_and_a_new_run_starts_anew(kind, tmp_path):
    path = tmp_path / "h"
    made = run(recoder(), num_epochs=3)
    log = LOGS[kind](path)
    run(made, log)
    assert epochs_in(path) == [1, 2, 3, 4]
    run(recoder(), log, num_epochs=2)
    assert epochs_in(path) == [1, 2]


def test_a_metric_that_comes_up_later_gets_a_column(tmp_path):
    class Adds(Callback):
        def on_epoch_end(self, report):
            if report.epoch == 3:
                report.metrics["größe, own"] = 0.25

    run(recoder(), Adds(), CSVLog(tmp_path / "h.csv"), JSONLinesLog(tmp_path / "h.jsonl"))
    assert [row["größe, own"] for row in rows(tmp_path / "h.csv")] == ["", "", "0.25", ""]
    assert list(rows(tmp_path / "h.csv")[0])[-2:] == ["größe, own", "größe, own stderr"]
    assert '"größe, own": 0.25' in (tmp_path / "h.jsonl").read_text(encoding="utf-8")


def test_a_run_that_goes_on_with_other_metrics_keeps_the_columns_of_both(tmp_path):
    made = run(recoder(), num_epochs=1, metrics=[NDCG(3)])
    run(made, CSVLog(tmp_path / "h.csv"), num_epochs=2)
    first, second = rows(tmp_path / "h.csv")
    assert (first["NDCG@5"], second["NDCG@3"]) == ("", "")
    assert float(first["NDCG@3"]) == made.history[0].metrics["NDCG@3"]


def test_a_model_without_a_loss_leaves_it_empty(tmp_path):
    run(Recoder(Popularity(), seed=1), CSVLog(tmp_path / "h.csv"), JSONLinesLog(tmp_path / "h.jsonl"), num_epochs=1)
    assert rows(tmp_path / "h.csv")[0]["loss"] == ""
    assert json.loads((tmp_path / "h.jsonl").read_text())["loss"] is None


@pytest.mark.parametrize("kind", LOGS)
def test_a_file_that_cannot_be_made_is_an_error_before_the_first_step(kind, tmp_path):
    (tmp_path / "file").write_text("in the way")
    made = recoder()
    with pytest.raises(FileWriteError, match="cannot write"):
        run(made, LOGS[kind](tmp_path / "file" / "h"))
    assert len(made.history) == 0


@pytest.mark.parametrize("kind", LOGS)
def test_a_full_disk_ends_the_run_with_the_epochs_before_it_in_the_file(kind, tmp_path, monkeypatch):
    history = History()
    log = LOGS[kind](tmp_path / "h")
    arguments = {"model": {}, "recoder": {}, "train": TRAIN_DEFAULTS}
    log.on_train_start(training_run(history=history, arguments=arguments))
    for epoch in (1, 2):
        history.append(EpochRecord(epoch, 1.5, 0.1, 1.0))
        report = EpochReport(epoch, is_last=False, loss=1.5, lr=0.1, seconds=1.0)
        if epoch == 1:
            log.on_checkpoint(report)
            before = (tmp_path / "h").read_bytes()
            continue
        monkeypatch.setattr(os, "fsync", lambda descriptor: (_ for _ in ()).throw(OSError(28, "No space left")))
        with pytest.raises(FileWriteError, match="No space left"):
            log.on_checkpoint(report)
    assert (tmp_path / "h").read_bytes() == before
