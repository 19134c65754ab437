"""Checkpoints in parts: read by any number of processes, made one file, whole or not there."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from parallel.checkpoint_worker import ARGUMENTS, EPOCHS, MODELS, recoder
from parallel.equality_worker import data
from parallel.launching import together
from recoder.errors import FileFormatError, FileWriteError
from recoder.model import Recoder
from recoder.nn.parts import Parts
from recoder.ops.collectives import Ranks
from recoder.training import join_parts, part_files

WORKER = "checkpoint_worker.py"


@pytest.fixture(autouse=True)
def in_float64():
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


@pytest.fixture(scope="module", params=MODELS)
def model(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def saved(model: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of three processes, halfway."""
    folder = tmp_path_factory.mktemp("parts")
    together(WORKER, 3, folder, model, "items", str(EPOCHS))
    return folder / f"run_epoch_{EPOCHS}.model"


@pytest.fixture(scope="module")
def undisturbed(model: str) -> Recoder:
    """What one process comes to in the whole run."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    made = recoder(model, None)
    made.train(data()[0], **{**ARGUMENTS, "checkpoint_freq": 0})
    torch.set_default_dtype(before)
    return made


def assert_same(made: Recoder, other: Recoder) -> None:
    theirs = other.model.state_dict()
    for name, ours in made.model.state_dict().items():
        np.testing.assert_allclose(ours, theirs[name], rtol=1e-8, atol=1e-10, err_msg=name)


def loaded(path: Path, model: str) -> Recoder:
    made = recoder(model, None)
    made.init_from_model_file(path)
    return made


class TestSavedParts:
    def test_one_process_goes_on_from_them_as_if_it_had_never_stopped(self, saved, model, undisturbed):
        made = loaded(saved, model)
        assert len(made.history) == EPOCHS
        made.train(data()[0], **{**ARGUMENTS, "checkpoint_freq": 0})
        assert_same(made, undisturbed)

    def test_so_do_other_numbers_of_processes(self, saved, model, undisturbed, tmp_path):
        size = 2
        together(WORKER, size, tmp_path, model, "items", str(2 * EPOCHS), saved)
        assert_same(loaded(tmp_path / f"run_epoch_{2 * EPOCHS}.model", model), undisturbed)
        ranked = [np.load(tmp_path / f"ranked-{rank}.npy") for rank in range(size)]
        for of_rank in ranked:
            np.testing.assert_array_equal(of_rank, undisturbed.ranked(data()[2], 10))

    def test_joined_they_are_the_file_that_one_process_writes(self, saved, model, tmp_path):
        join_parts(saved, tmp_path / "one.model")
        from_file, from_parts = loaded(tmp_path / "one.model", model), loaded(saved, model)
        assert_same(from_file, from_parts)
        assert from_file.history.to_json() == from_parts.history.to_json()
        again = from_file.save_state(tmp_path / "again")
        assert Path(again).stat().st_size == pytest.approx((tmp_path / "one.model").stat().st_size, rel=0.02)

    def test_rows_are_cut_and_nothing_else_is_there_twice(self, saved):
        manifest = json.loads((saved / "manifest.json").read_text())
        assert len(manifest["files"]) == 3
        sizes = [(saved / name).stat().st_size for name in manifest["files"]]
        assert max(sizes) < 1.2 * min(sizes)

    @pytest.mark.parametrize(
        ("damage", "reason"),
        [
            (lambda folder: next(folder.glob("part-2*")).unlink(), "missing or damaged"),
            (lambda folder: (folder / "manifest.json").write_text("{"), "no whole checkpoint"),
            (lambda folder: (folder / "manifest.json").write_text('{"format_version": 1}'), "no whole checkpoint"),
            (lambda folder: _cut_short(next(folder.glob("part-3*"))), "missing or damaged"),
            (lambda folder: _flip(next(folder.glob("part-1*"))), "not those that were written"),
            (lambda folder: _rename(folder, "../elsewhere"), "not beside it"),
            (lambda folder: _rename(folder, "part-1-of-3.safetensors"), "or twice"),
            (lambda folder: _change(folder, save=1), "is of another save than the rest"),
            (lambda folder: _change(folder, cut={"items.weight": "foo"}), "was damaged"),
            (lambda folder: _change(folder, files=["part-1-of-3.safetensors"]), "do not have each of"),
        ],
    )
    def test_damage_is_said(self, saved, model, tmp_path, damage, reason):
        folder = tmp_path / "copy.model"
        shutil.copytree(saved, folder)
        damage(folder)
        with pytest.raises(FileFormatError, match=reason):
            loaded(folder, model)


def test_a_checkpoint_that_takes_the_place_while_it_is_opened_is_read_whole(saved, model, tmp_path, monkeypatch):
    folder = tmp_path / "copy.model"
    shutil.copytree(saved, folder)
    read, calls = part_files._manifest, []

    def replaced_after_the_first(path):
        calls.append(path)
        if len(calls) > 1:
            return read(path)
        manifest = folder / "manifest.json"
        _change(folder)  # written anew: another file
        return {**json.loads(manifest.read_text()), "save": 1}  # what the one before it had

    monkeypatch.setattr(part_files, "_manifest", replaced_after_the_first)
    loaded(folder, model)
    assert len(calls) == 2


def test_a_folder_of_another_kind_with_a_manifest_stays(tmp_path):
    folder = tmp_path / "run_epoch_1.model"
    folder.mkdir()
    (folder / "manifest.json").write_text('{"format": "recoder interactions", "files": []}')
    printed = together(WORKER, 2, tmp_path, "deep", "items", "1", expect=1)
    assert all("not one of a checkpoint" in of_rank for of_rank in printed)
    assert [path.name for path in folder.iterdir()] == ["manifest.json"]


class TestTogether:
    """With one model: the other has nothing to do with it."""

    def test_processes_take_their_parts_of_a_single_file(self, tmp_path):
        whole = recoder("deep", None)
        whole.train(data()[0], **{**ARGUMENTS, "num_epochs": EPOCHS, "checkpoint_freq": 0})
        half = whole.save_state(tmp_path / "one")
        whole.train(data()[0], **{**ARGUMENTS, "checkpoint_freq": 0})
        together(WORKER, 2, tmp_path, "deep", "items", str(2 * EPOCHS), half)
        assert_same(loaded(tmp_path / f"run_epoch_{2 * EPOCHS}.model", "deep"), whole)

    def test_a_single_file_takes_the_place_of_parts_of_its_name_and_parts_of_a_file(self, tmp_path):
        for parallel, is_folder in (("items", True), ("users", False), ("items", True)):
            together(WORKER, 2, tmp_path, "deep", parallel, "1")
            assert (tmp_path / "run_epoch_1.model").is_dir() == is_folder
            loaded(tmp_path / "run_epoch_1.model", "deep")
            assert sorted(path.name for path in tmp_path.glob(".*")) == []

    def test_what_one_process_cannot_write_all_of_them_say(self, tmp_path):
        (tmp_path / "run_epoch_1.model").mkdir()
        (tmp_path / "run_epoch_1.model" / "precious").touch()
        printed = together(WORKER, 2, tmp_path, "deep", "users", "1", expect=1)
        assert "it is a folder" in printed[0]
        assert "another process could not write" in printed[1]
        printed = together(WORKER, 2, tmp_path, "deep", "items", "1", expect=1)
        assert all("it is a folder" in of_rank for of_rank in printed)
        assert (tmp_path / "run_epoch_1.model" / "precious").exists()


def _cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-3] ^= 64
    path.write_bytes(bytes(content))


def _change(folder: Path, **changes: object) -> None:
    path = folder / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def _rename(folder: Path, name: str) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"][1] = name
    (folder / "manifest.json").write_text(json.dumps(manifest))


def test_parts_that_went_elsewhere_are_missed_before_the_checkpoint_counts(saved, model, tmp_path):
    parts = Parts(Ranks(), torch.arange(3))
    parts.ranks.size = 2  # the other one writes to a folder that this one does not see
    made = loaded(saved, model)
    content = made.file_content()
    made.model.parts = parts
    with pytest.raises(FileWriteError, match=r"other processes wrote part-2-of-2.*choose a folder that all machines"):
        part_files.write_parts(
            tmp_path / "run_epoch_1.model",
            content,
            made.model,
            torch.ones(3, dtype=torch.int64),
            parts.ranks,
            version="1",
        )
    assert not (tmp_path / "run_epoch_1.model").exists()
