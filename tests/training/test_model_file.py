"""The file format: what it holds, what damage gives, and that a failed save leaves the previous file whole."""

from __future__ import annotations

import json
import os
import resource
import shutil
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from scipy import sparse
from torch import Tensor

from recoder import _memory
from recoder.data import RecommendationDataset, UsersInteractions
from recoder.errors import ConfigError, FileFormatError, FileWriteError, NotEnoughMemoryError
from recoder.model import Recoder
from recoder.nn import DynamicAutoencoder, MatrixFactorization
from recoder.ops import large
from recoder.training import model_file
from recoder.training.model_file import (
    FORMAT_VERSION,
    ModelFile,
    check_json,
    crc32_of,
    read_safetensors,
    write_model_file,
)

USERS, ITEMS = 12, 9


def content(**changes: Any) -> ModelFile:
    filled: dict[str, Any] = {
        "model_class": "Own",
        "model_params": {"sizes": [3, 2], "name": "é"},
        "num_items": ITEMS,
        "num_users": USERS,
        "progress": {"epoch": 2, "step": 5, "loss_sum": 0.1, "num_users": 7},
        "optimizer_type": "adam",
        "loss": "mse",
        "loss_params": {"confidence": 2},
        "seed": 2**63,
        "train": {"lr": 0.1},
        "history": [{"epoch": 1}],
        "weights": {"a.weight": torch.arange(6.0).view(2, 3), "a.bias": torch.ones(3)},
        "optimizer": {"a.weight": {"step": torch.tensor(4.0), "exp_avg": torch.full((2, 3), 0.5)}},
    }
    return ModelFile(**{**filled, **changes})


def write(path: Path, **changes: Any) -> Path:
    write_model_file(path, content(**changes), version="1.2.3")
    return path


def metadata_of(path: Path) -> dict[str, Any]:
    with safe_open(path, framework="pt") as file:
        return json.loads(file.metadata()["recoder"])


def rewrite(path: Path, metadata: Callable[[dict[str, Any]], Any], tensors: Callable[[dict[str, Tensor]], Any]) -> None:
    """Changes a file's description and tensors in place."""
    described, held = metadata_of(path), load_file(path)
    tensors(held)
    described["crc32"] = crc32_of(held)
    metadata(described)
    save_file(held, path, metadata={"recoder": json.dumps(described)})


def unchanged(_: Any) -> None:
    pass


def trained(seed: int = 1, epochs: int = 1, **kwargs: Any) -> Recoder:
    dense = np.random.default_rng(0).random((USERS, ITEMS)) < 0.4
    dense[:, 0] = True
    recoder = Recoder(DynamicAutoencoder([4], **kwargs), optimizer_type="adam", seed=seed)
    recoder.train(RecommendationDataset(sparse.csr_matrix(dense)), num_epochs=epochs, batch_size=5, lr=0.05)
    return recoder


def scores(recoder: Recoder) -> Tensor:
    users = UsersInteractions(np.arange(3), sparse.csr_matrix(np.eye(3, ITEMS)))
    return recoder.predict(users)


# what it holds


def test_everything_comes_back(tmp_path: Path) -> None:
    before, after = content(), read_safetensors(write(tmp_path / "x.model"))
    for name in vars(before):
        if name not in ("weights", "optimizer"):
            assert getattr(after, name) == getattr(before, name), name
    assert after.weights.keys() == before.weights.keys()
    assert all(torch.equal(after.weights[name], before.weights[name]) for name in before.weights)
    (state,) = after.optimizer.values()
    assert {key: value.tolist() for key, value in state.items()} == {"step": 4.0, "exp_avg": [[0.5] * 3] * 2}


def test_file_is_plain_safetensors_with_json_under_one_key(tmp_path: Path) -> None:
    path = write(tmp_path / "x.model")
    with safe_open(path, framework="pt") as file:
        assert set(file.metadata()) == {"recoder"}
        names = set(file.keys())
    assert names == {"model/a.weight", "model/a.bias", "optimizer/a.weight/step", "optimizer/a.weight/exp_avg"}
    described = metadata_of(path)
    assert described["format_version"] == FORMAT_VERSION == 1
    assert described["recoder_version"] == "1.2.3"
    assert described["model_class"] == "Own"
    assert described["progress"] == {"epoch": 2, "step": 5, "loss_sum": 0.1, "num_users": 7}


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16, torch.int64, torch.bool])
def test_every_dtype_comes_back(dtype: torch.dtype, tmp_path: Path) -> None:
    weight = torch.tensor([[0, 1], [1, 0]]).to(dtype)
    after = read_safetensors(write(tmp_path / "x.model", weights={"w": weight}, optimizer={}))
    assert after.weights["w"].dtype == dtype
    assert torch.equal(after.weights["w"], weight)


def test_names_may_hold_dots_slashes_and_letters_of_any_script(tmp_path: Path) -> None:
    name = "a/b.ж.weight"
    state = {name: {"exp_avg": torch.zeros(2)}}
    after = read_safetensors(write(tmp_path / "x.model", weights={name: torch.ones(2)}, optimizer=state))
    assert list(after.weights) == [name]
    assert list(after.optimizer) == [name]


def test_numbers_come_back_bit_for_bit(tmp_path: Path) -> None:
    exact = 0.1 + 0.2
    after = read_safetensors(write(tmp_path / "x.model", progress={"epoch": 1, "loss_sum": exact}))
    assert after.progress["loss_sum"] == exact


# tied tensors


def test_a_tensor_under_two_names_is_stored_once_with_an_alias(tmp_path: Path) -> None:
    shared = torch.rand(300, 50)
    once = write(tmp_path / "once.model", weights={"a": shared, "b": shared}, optimizer={})
    twice = write(tmp_path / "twice.model", weights={"a": shared, "b": shared.clone()}, optimizer={})
    assert twice.stat().st_size - once.stat().st_size > 0.9 * shared.nbytes
    assert metadata_of(once)["aliases"] == {"b": "a"}
    after = read_safetensors(once)
    assert torch.equal(after.weights["a"], shared)
    assert after.weights["a"] is after.weights["b"]


def test_views_of_one_storage_that_are_not_the_same_tensor_are_stored_apart(tmp_path: Path) -> None:
    whole = torch.arange(12.0).view(3, 4)
    views = {"whole": whole, "transposed": whole.T, "part": whole[1:], "column": whole[:, 1]}
    after = read_safetensors(write(tmp_path / "x.model", weights=views, optimizer={}))
    assert metadata_of(tmp_path / "x.model")["aliases"] == {}
    for name, view in views.items():
        assert torch.equal(after.weights[name], view)


def test_empty_tensors_are_not_taken_for_one_another(tmp_path: Path) -> None:
    weights = {"a": torch.zeros(0, 3), "b": torch.zeros(0, 3), "c": torch.zeros(0)}
    after = read_safetensors(write(tmp_path / "x.model", weights=weights, optimizer={}))
    assert {name: tuple(t.shape) for name, t in after.weights.items()} == {"a": (0, 3), "b": (0, 3), "c": (0,)}


def test_a_tied_model_is_smaller_on_disk_and_tied_after_loading(tmp_path: Path) -> None:
    sizes = {}
    for tied in (False, True):
        path = trained(is_constrained=tied).save_state(tmp_path / str(tied))
        sizes[tied] = len(load_file(path))
        recoder = Recoder(DynamicAutoencoder())
        recoder.init_from_model_file(path)
        model = recoder.model
        assert isinstance(model, DynamicAutoencoder)
        assert model.items is not None
        assert (model.items.weight is model.item_sum.table.weight) is tied
    # one table, and its two moments and step count
    assert sizes[False] - sizes[True] == 4


# memory


def test_loaded_weights_outlive_their_file(tmp_path: Path) -> None:
    path = Path(trained().save_state(tmp_path / "x"))
    recoder = Recoder(DynamicAutoencoder())
    recoder.init_from_model_file(path)
    before = scores(recoder).clone()
    # in place, as another program might: a mapped file would show through, or bring the process down
    path.write_bytes(bytes(path.stat().st_size))
    assert torch.equal(scores(recoder), before)
    path.write_bytes(b"")
    path.unlink()
    assert torch.equal(scores(recoder), before)
    assert scores(recoder).isfinite().all()


# damage


@pytest.mark.parametrize("tenths", range(10))
def test_a_truncated_file_gives_an_error_that_says_so(tenths: int, tmp_path: Path) -> None:
    path = Path(trained().save_state(tmp_path / "x"))
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) * tenths // 10])
    with pytest.raises(FileFormatError, match="is not a whole model file") as caught:
        Recoder(DynamicAutoencoder()).init_from_model_file(path)
    assert str(path) in str(caught.value)


def test_no_truncation_gives_another_error(tmp_path: Path) -> None:
    path = write(tmp_path / "x.model")
    whole = path.read_bytes()
    for length in {*range(0, 200), *range(0, len(whole), 13), len(whole) - 1}:
        path.write_bytes(whole[:length])
        with pytest.raises(FileFormatError):
            read_safetensors(path)


def test_no_damaged_byte_gives_another_error(tmp_path: Path) -> None:
    whole = Path(trained().save_state(tmp_path / "x")).read_bytes()
    rng = np.random.default_rng(0)
    header = 8 + struct.unpack("<Q", whole[:8])[0]
    path = tmp_path / "damaged.model"
    refused = 0
    for _ in range(500):
        position = int(rng.integers(header))
        path.write_bytes(whole[:position] + bytes([rng.integers(256)]) + whole[position + 1 :])
        try:
            Recoder(DynamicAutoencoder()).init_from_model_file(path)
        except FileFormatError:
            refused += 1
    # what passes is where the number or name that changed means nothing to the format
    assert refused > 250


def png(path: Path) -> None:
    path.write_bytes(b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + bytes(200))


FOREIGN: dict[str, Callable[[Path], Any]] = {
    "text": lambda path: path.write_text("dear reader, " * 50),
    "short text": lambda path: path.write_text("hi"),
    "json": lambda path: path.write_text(json.dumps({"format_version": 1})),
    "png": png,
    "empty": lambda path: path.write_bytes(b""),
    "zeros": lambda path: path.write_bytes(bytes(1000)),
    "folder": lambda path: path.mkdir(),
    "numpy": lambda path: np.save(path.with_suffix(".npy"), np.arange(5)) or path.with_suffix(".npy").rename(path),
    "safetensors without metadata": lambda path: save_file({"a": torch.zeros(2)}, path),
    "safetensors of others": lambda path: save_file({"a": torch.zeros(2)}, path, metadata={"format": "pt"}),
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_a_foreign_file_gives_an_error_that_names_it(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "foreign.model"
    FOREIGN[kind](path)
    with pytest.raises(FileFormatError, match=r"not a whole model file|not a model file|is a folder") as caught:
        Recoder(DynamicAutoencoder()).init_from_model_file(path)
    assert str(path) in str(caught.value)


def test_no_file_is_the_builtin_error_and_names_the_path(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nowhere\.model"):
        Recoder(DynamicAutoencoder()).init_from_model_file(tmp_path / "nowhere.model")


def test_a_newer_format_asks_for_an_upgrade(tmp_path: Path) -> None:
    path = write(tmp_path / "x.model")
    rewrite(path, lambda described: described.update(format_version=2, recoder_version="9.8"), unchanged)
    with pytest.raises(FileFormatError, match=r"has format version 2, .* reads up to 1; upgrade .*version 9\.8"):
        read_safetensors(path)


@pytest.mark.parametrize(
    "text",
    ["", "{", "{]", "nonsense", "[]", "3", "null", '"x"', "{}", '{"format_version": "1"}', "[" * 100_000],
    ids=lambda text: text[:12] or "nothing",
)
def test_a_description_that_is_not_json_of_ours_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "x.model"
    save_file({"model/a": torch.zeros(2)}, path, metadata={"recoder": text})
    with pytest.raises(FileFormatError, match=r"the description in .* damaged"):
        read_safetensors(path)


@pytest.mark.parametrize(
    ("key", "values"),
    [
        ("format_version", [0, -1, 1.5, "1", None, True]),
        ("model_class", [None, 3, ["Own"]]),
        ("model_params", [None, [], "x"]),
        ("num_items", [None, "9", 9.0, True]),
        ("num_users", ["9", False]),
        ("progress", [None, 3]),
        ("optimizer_type", [None, 3]),
        ("loss", [3, ["mse"]]),
        ("loss_params", [None, []]),
        ("seed", [None, "3", True]),
        ("train", [3, []]),
        ("history", [None, {}]),
        ("aliases", [None, []]),
        ("crc32", [None, "1", 1.0, True]),
    ],
)
def test_a_description_of_the_wrong_kind_is_refused(key: str, values: list[Any], tmp_path: Path) -> None:
    for value in values:
        path = write(tmp_path / "x.model")
        rewrite(path, lambda described, value=value: described.update({key: value}), unchanged)
        with pytest.raises(FileFormatError, match=r"the description in .* damaged"):
            read_safetensors(path)
    rewrite(write(path), lambda described: described.pop(key), unchanged)
    with pytest.raises(FileFormatError, match=r"the description in .* damaged"):
        read_safetensors(path)


def test_a_flipped_bit_anywhere_in_the_numbers_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "x.model")
    whole = path.read_bytes()
    start = 8 + int.from_bytes(whole[:8], "little")
    assert len(whole) - start == 4 * (6 + 3 + 1 + 6)
    for place in range(start, len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(FileFormatError, match=r"the numbers in .*x\.model are not those .* damaged"):
            read_safetensors(path)


@pytest.mark.parametrize("target", ["nowhere", 3, None, ["model/a.weight"]])
def test_an_alias_of_nothing_is_refused(target: Any, tmp_path: Path) -> None:
    path = write(tmp_path / "x.model")
    rewrite(path, lambda described: described.update(aliases={"b": target}), unchanged)
    with pytest.raises(FileFormatError, match="lacks the tensor"):
        read_safetensors(path)


@pytest.mark.parametrize("name", ["optimizer/x", "optimizer/", "optimizer//exp_avg"])
def test_an_optimizer_state_of_no_parameter_is_refused(name: str, tmp_path: Path) -> None:
    path = write(tmp_path / "x.model")
    rewrite(path, unchanged, lambda tensors: tensors.update({name: torch.zeros(1)}))
    with pytest.raises(FileFormatError, match="names no parameter"):
        read_safetensors(path)


def test_sections_that_came_later_are_passed_over(tmp_path: Path) -> None:
    path = write(tmp_path / "x.model")
    rewrite(
        path,
        lambda described: described.update(recipe={"name": "quick"}),
        lambda tensors: tensors.update({"later/thing": torch.zeros(1)}),
    )
    assert set(read_safetensors(path).weights) == {"a.weight", "a.bias"}


# what can be stored


@pytest.mark.parametrize(
    "value",
    [{}, {"a": [1, 2.5, "x", None, True, {"b": []}]}, {"sizes": (1, 2)}],
)
def test_json_values_can_be_stored(value: dict[str, Any]) -> None:
    check_json("params", value)


def circular() -> dict[str, Any]:
    value: dict[str, Any] = {}
    value["self"] = value
    return value


@pytest.mark.parametrize(
    "value",
    [
        None,
        [1],
        {"a": object()},
        {"a": {1, 2}},
        {"a": np.int64(3)},
        {"a": torch.zeros(1)},
        {"a": float("nan")},
        {"a": float("inf")},
        {1: "a"},
        {"a": {2: "b"}},
        {"a": [{None: 1}]},
        {"f": len},
        circular(),
    ],
    ids=lambda value: str(value)[:20],
)
def test_other_values_are_refused_and_the_error_says_what_may_stand_there(value: Any) -> None:
    with pytest.raises(ConfigError, match=r"^params .*JSON values only: numbers, strings"):
        check_json("params", value)


# saving fails


def fill_half(tensors: Any, path: Path, metadata: Any) -> None:
    Path(path).write_bytes(b"half a file")


@pytest.mark.parametrize("stop", [KeyboardInterrupt, MemoryError, OSError(28, "No space left on device")])
def test_a_save_that_is_stopped_leaves_the_previous_file_whole_and_no_other(
    stop: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recoder = trained()
    path = Path(recoder.save_state(tmp_path / "x"))
    whole = path.read_bytes()

    def stopped(tensors: Any, path: Path, metadata: Any) -> None:
        fill_half(tensors, path, metadata)
        raise stop

    monkeypatch.setattr(model_file, "save_file", stopped)
    with pytest.raises(FileWriteError if isinstance(stop, OSError) else stop):
        recoder.save_state(tmp_path / "x")
    assert path.read_bytes() == whole
    assert list(tmp_path.iterdir()) == [path]


def test_whatever_lies_beside_the_file_while_it_is_written_has_a_name_that_tells_what_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def look(tensors: Any, path: Path, metadata: Any) -> None:
        save_file(tensors, path, metadata=metadata)
        assert all(name.name.startswith(".a.model.") for name in tmp_path.iterdir())

    monkeypatch.setattr(model_file, "save_file", look)
    write(tmp_path / "a.model")
    assert [path.name for path in tmp_path.iterdir()] == ["a.model"]


def test_the_file_has_the_permissions_of_any_new_file(tmp_path: Path) -> None:
    write(tmp_path / "a.model")
    (tmp_path / "any").touch()
    assert (tmp_path / "a.model").stat().st_mode == (tmp_path / "any").stat().st_mode


def test_a_save_that_is_stopped_before_the_first_file_leaves_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(tensors: Any, path: Path, metadata: Any) -> None:
        fill_half(tensors, path, metadata)
        raise KeyboardInterrupt

    monkeypatch.setattr(model_file, "save_file", stopped)
    with pytest.raises(KeyboardInterrupt):
        trained().save_state(tmp_path / "x")
    assert list(tmp_path.iterdir()) == []


def refusal(path: Path) -> str:
    """Returns what is said where 400,000 bytes cannot be written."""
    with pytest.raises(FileWriteError) as caught:
        write(path, weights={"a": torch.zeros(100_000)}, optimizer={})
    return str(caught.value)


def test_a_file_that_may_not_grow_is_an_error_and_the_previous_one_stays_whole(tmp_path: Path) -> None:
    path = write(tmp_path / "x.model")
    whole = path.read_bytes()
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, before[1]))
    try:
        said = refusal(path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert f"cannot write {path}" in said
    assert "nothing was changed there" in said
    assert path.read_bytes() == whole
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_is_an_error_and_the_previous_file_stays_whole(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = shutil.which("mount")
    if os.geteuid() != 0 or mount is None:
        pytest.skip("only root can mount a small disk")
    if subprocess.run([mount, "-t", "tmpfs", "-o", "size=128k", "tmpfs", disk], capture_output=True).returncode:
        pytest.skip("this machine does not let root mount a small disk")
    try:
        path = write(disk / "x.model")
        whole = path.read_bytes()
        said = refusal(path)
        assert f"cannot write {path}" in said
        assert said.startswith("[Errno 28]")
        assert "free some space" in said
        assert all(said.count(words) == 1 for words in ("cannot write", "No space left", "nothing was changed"))
        assert path.read_bytes() == whole
        assert list(disk.iterdir()) == [path]
        write(path, weights={"a": torch.zeros(10_000)}, optimizer={})
        assert read_safetensors(path).weights["a"].numel() == 10_000
    finally:
        subprocess.run(["umount", disk], check=True)


def test_unwritable_folder_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file, not a folder")
    with pytest.raises(FileWriteError, match=r"cannot write .*taken/deeper/x_epoch_1\.model"):
        trained().save_state(tmp_path / "taken" / "deeper" / "x")


def test_another_model_than_the_one_in_the_file_is_refused(tmp_path: Path) -> None:
    path = trained().save_state(tmp_path / "x")
    with pytest.raises(FileFormatError, match=r"holds a DynamicAutoencoder.*made with a MatrixFactorization"):
        Recoder(MatrixFactorization(4)).init_from_model_file(path)


def test_a_file_that_takes_the_place_while_it_is_read_is_read_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "a.model", seed=1)
    other = write(tmp_path / "b.model", seed=2, optimizer={}, weights={"a.weight": torch.zeros(7, 5)})
    read, replaced = model_file._read, []

    def replaced_before(name: Any, mapped: Any) -> Any:
        if not replaced:  # the description is read, the tensors are not
            replaced.append(other.replace(path))
        return read(name, mapped)

    monkeypatch.setattr(model_file, "_read", replaced_before)
    held = read_safetensors(path)
    assert replaced
    assert held.seed == 2
    assert held.weights["a.weight"].shape == (7, 5)


def test_a_table_beyond_the_memory_is_refused_before_it_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = Recoder(MatrixFactorization(4))
    made.train(RecommendationDataset(sparse.csr_matrix(np.eye(USERS, ITEMS))), num_epochs=1)
    path = made.save_state(tmp_path / "m")
    monkeypatch.setattr(_memory, "available_bytes", lambda: 100)
    monkeypatch.setattr(large, "_LARGE", 0)
    with pytest.raises(NotEnoughMemoryError, match="a table of 12 by 4 numbers needs about"):
        Recoder(MatrixFactorization(4)).init_from_model_file(path)
