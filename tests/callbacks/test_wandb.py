from __future__ import annotations

import json
import struct
import time

import pytest

from recoder.callbacks import WandbLog
from recoder.training import Callback
from small_runs import recoder, run

wandb = pytest.importorskip("wandb")


@pytest.fixture(scope="module", autouse=True)
def offline(tmp_path_factory):
    """One service of its own for all tests: one that has just ended may still answer the next."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("WANDB_DIR", "WANDB_CONFIG_DIR", "WANDB_CACHE_DIR", "WANDB_DATA_DIR"):
            patch.setenv(name, str(tmp_path_factory.mktemp("wandb")))
        for name, value in {"MODE": "offline", "SILENT": "true", "CONSOLE": "off", "ERROR_REPORTING": "false"}.items():
            patch.setenv(f"WANDB_{name}", value)
        wandb.teardown()  # settings are read once in a process
        yield
        wandb.teardown()


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def records(folder):
    """All that a run wrote; its service may still be writing for a moment after the run has finished."""
    end = time.monotonic() + 20
    while "exit" not in [record.WhichOneof("record_type") for record in written(folder)]:
        assert time.monotonic() < end, written(folder)
        time.sleep(0.05)
    return written(folder)


def written(folder):
    """The messages in a run's file: after 7 bytes, each with checksum, length and kind, in blocks of 32 KiB."""
    from wandb.proto.wandb_internal_pb2 import Record

    (path,) = folder.glob("wandb/offline-run-*/run-*.wandb")
    data, at, whole, found = path.read_bytes(), 7, b"", []
    while at + 7 <= len(data):
        if 32768 - at % 32768 < 7:
            at += 32768 - at % 32768
            continue
        _, length, kind = struct.unpack_from("<IHB", data, at)
        if at + 7 + length > len(data):
            break
        whole += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # a whole message, or the last part of one
            found.append(Record.FromString(whole))
            whole = b""
    return found


def logged(folder):
    return [
        {(item.key or item.nested_key[0]): json.loads(item.value_json) for item in record.history.item}
        for record in records(folder)
        if record.WhichOneof("record_type") == "history"
    ]


def config(folder):
    updates = [record.config.update for record in records(folder) if record.WhichOneof("record_type") == "config"]
    starts = [record.run.config.update for record in records(folder) if record.WhichOneof("record_type") == "run"]
    return {item.key: json.loads(item.value_json) for update in starts + updates for item in update}


def exit_codes(folder):
    return [record.exit.exit_code for record in records(folder) if record.WhichOneof("record_type") == "exit"]


def test_a_training_is_a_run_with_curves_and_a_config(folder):
    made = run(recoder(), WandbLog(project="films", name="first", dir=folder), eval_freq=2)
    found = logged(folder)
    assert [values["epoch"] for values in found] == [1, 2, 3, 4]
    for values, record in zip(found, made.history, strict=True):
        assert [values[name] for name in ("loss", "val_loss", "lr")] == [record.loss, record.val_loss, record.lr]
        assert values.get("NDCG@5") == record.metrics.get("NDCG@5")
        assert values.get("NDCG@5 stderr") == record.metric_errors.get("NDCG@5")
    stored = config(folder)
    assert stored["model"]["hidden_layers"] == [6]
    assert (stored["train"]["lr"], stored["recoder"]["seed"]) == (0.05, 11)
    assert exit_codes(folder) == [0]
    assert wandb.run is None


def test_an_error_ends_the_run_as_failed(folder):
    class Fail(Callback):
        def on_checkpoint(self, report):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run(recoder(), WandbLog(project="films", dir=folder), Fail())
    assert [values["epoch"] for values in logged(folder)] == [1]
    assert exit_codes(folder) == [1]


def test_a_run_that_is_active_already_is_logged_to_and_left_open(folder):
    with wandb.init(project="films", dir=folder) as own:
        run(recoder(), WandbLog(), num_epochs=2)
        assert wandb.run is own
        own.log({"after": 1})
    found = logged(folder)
    assert [values["epoch"] for values in found[:2]] == [1, 2]
    assert found[2]["after"] == 1
