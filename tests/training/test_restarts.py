from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import sparse

from recoder.data import RecommendationDataset
from recoder.model import Recoder
from recoder.nn import DynamicAutoencoder
from recoder.ops.collectives import Ranks
from recoder.training.processes import Processes
from recoder.training.restarts import last_of_run


@pytest.fixture
def processes(monkeypatch) -> Processes:
    """Two that torchrun started, of which this is the first; nobody talks to the other."""
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "0")
    ranks = Ranks()
    ranks.size = 2
    return Processes(all=ranks)


@pytest.fixture
def restart(monkeypatch):
    return lambda: monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "1")


def begun(folder: Path) -> float:
    return (folder / ".run.begun").stat().st_mtime


def write(folder: Path, epoch: int, seconds_after_begin: float, *, in_parts: bool = False) -> Path:
    """A checkpoint, or what looks like one."""
    path = file = folder / f"run_epoch_{epoch}.model"
    if in_parts:
        path.mkdir()
        file = path / "manifest.json"
    file.touch()
    time = begun(folder) + seconds_after_begin
    os.utime(file, (time, time))
    return path


def test_a_run_that_begins_goes_on_from_nothing_and_says_when_it_began(tmp_path, processes):
    (tmp_path / "run_epoch_3.model").touch()
    assert last_of_run(f"{tmp_path}/run", 5, processes) is None
    assert (tmp_path / ".run.begun").exists()


def test_without_torchrun_nothing_is_written(tmp_path, processes, monkeypatch):
    monkeypatch.delenv("TORCHELASTIC_RESTART_COUNT")
    assert last_of_run(f"{tmp_path}/run", 5, processes) is None
    assert last_of_run(f"{tmp_path}/run", 5, Processes()) is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("in_parts", [False, True])
def test_it_goes_on_from_the_newest_checkpoint_of_the_run(tmp_path, processes, restart, in_parts):
    last_of_run(f"{tmp_path}/run", 5, processes)
    write(tmp_path, 1, 1, in_parts=in_parts)
    newest = write(tmp_path, 2, 2, in_parts=in_parts)
    restart()
    assert last_of_run(f"{tmp_path}/run", 5, processes) == newest
    assert last_of_run(f"{tmp_path}/run", 1, processes) == tmp_path / "run_epoch_1.model"
    assert last_of_run(f"{tmp_path}/run", 5, processes, after=1) == newest
    assert last_of_run(f"{tmp_path}/run", 5, processes, after=2) is None


def test_one_process_of_torchrun_goes_on_too(tmp_path, restart, monkeypatch):
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "0")
    alone = Processes(all=Ranks())
    last_of_run(f"{tmp_path}/run", 5, alone)
    newest = write(tmp_path, 3, 1)
    restart()
    assert last_of_run(f"{tmp_path}/run", 5, alone) == newest


def test_a_run_that_began_with_a_file_goes_on_with_a_later_checkpoint(tmp_path, restart, monkeypatch, caplog):
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "0")
    data = RecommendationDataset(sparse.random(20, 9, 0.4, "csr", np.float32, np.random.default_rng(0)))

    def begun_with(path: str) -> Recoder:
        made = Recoder(DynamicAutoencoder([4]), optimizer_type="adam", seed=1)
        made._processes = Processes(all=Ranks())  # as of one process that torchrun started
        made.init_from_model_file(path)
        return made

    first = Recoder(DynamicAutoencoder([4]), optimizer_type="adam", seed=1)
    first.train(data, num_epochs=2)
    file = first.save_state(tmp_path / "first")
    arguments = {"model_checkpoint_prefix": str(tmp_path / "run"), "checkpoint_freq": 1}
    begun_with(file).train(data, num_epochs=4, **arguments)
    restart()
    again = begun_with(file)
    again.train(data, num_epochs=5, **arguments)
    assert f"training goes on from {tmp_path / 'run_epoch_4.model'}" in caplog.text
    assert [record.epoch for record in again.history] == [1, 2, 3, 4, 5]
    unbroken = begun_with(file)
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "0")
    unbroken.train(data, num_epochs=5)
    for name, tensor in unbroken.model.state_dict().items():
        assert torch.equal(tensor, again.model.state_dict()[name])


def test_checkpoints_of_an_earlier_run_with_the_same_prefix_do_not_count(tmp_path, processes, restart):
    last_of_run(f"{tmp_path}/run", 5, processes)
    own = write(tmp_path, 1, 1)
    write(tmp_path, 4, -60)
    write(tmp_path, 5, -60, in_parts=True)
    restart()
    assert last_of_run(f"{tmp_path}/run", 5, processes) == own
    own.unlink()
    assert last_of_run(f"{tmp_path}/run", 5, processes) is None


def test_a_restart_without_a_later_checkpoint_is_no_new_begin(tmp_path, processes, restart):
    last_of_run(f"{tmp_path}/run", 5, processes)
    newest = write(tmp_path, 2, 1)
    restart()
    before = begun(tmp_path)
    assert last_of_run(f"{tmp_path}/run", 9, processes, after=2) is None
    assert begun(tmp_path) == before
    assert last_of_run(f"{tmp_path}/run", 9, processes) == newest


def test_nor_do_any_where_the_first_start_was_killed_before_it_began(tmp_path, processes, restart):
    (tmp_path / "run_epoch_3.model").touch()
    restart()
    assert last_of_run(f"{tmp_path}/run", 5, processes) is None
    assert (tmp_path / ".run.begun").exists()


def test_parts_without_a_manifest_are_no_checkpoint(tmp_path, processes, restart):
    last_of_run(f"{tmp_path}/run", 5, processes)
    (tmp_path / "run_epoch_1.model").mkdir()
    restart()
    assert last_of_run(f"{tmp_path}/run", 5, processes) is None


@pytest.mark.parametrize("name", ["run", "r[u]n", ""])
def test_what_dead_processes_were_writing_goes_and_nothing_else(tmp_path, processes, restart, name):
    prefix = f"{tmp_path}/{name}"
    last_of_run(prefix, 5, processes)
    unfinished = tmp_path / f".{name}_epoch_2.model.unfinished"
    unfinished.mkdir()
    (unfinished / "part-1-of-2.safetensors").touch()
    for left in (f".{name}_epoch_0.model.0123abcd.tmp", f"..{name}_epoch_1.model.whole.0123abcd.tmp"):
        (tmp_path / left).touch()
    others = [f"{name}_epoch_1.model", f"{name}_epoch_1.model.backup", ".other_epoch_1.model.0123abcd.tmp"]
    for kept in others:
        (tmp_path / kept).touch()
    restart()
    last_of_run(prefix, 5, processes)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*others, f".{name}.begun"])


def test_a_checkpoint_gets_its_place_back_if_no_other_took_it(tmp_path, processes, restart):
    last_of_run(f"{tmp_path}/run", 5, processes)
    write(tmp_path, 1, 1, in_parts=True)
    for epoch, content in ((1, "older"), (2, "aside")):
        before = tmp_path / f".run_epoch_{epoch}.model.before"
        before.mkdir()
        (before / "manifest.json").write_text(content)
    restart()
    last_of_run(f"{tmp_path}/run", 5, processes)
    assert (tmp_path / "run_epoch_1.model" / "manifest.json").read_text() == ""
    assert (tmp_path / "run_epoch_2.model" / "manifest.json").read_text() == "aside"
    assert not list(tmp_path.glob("*.before"))
    assert not list(tmp_path.glob(".*.before"))
