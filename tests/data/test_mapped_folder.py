"""A folder of mapped interactions is opened as it was written, or refused."""

from __future__ import annotations

import json
import shutil
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import sparse

from forking import Forked
from recoder.data import IdMap, Interactions, mapped_folder
from recoder.data.mapped_folder import MANIFEST, write_folder
from recoder.errors import ConfigError, FileFormatError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    matrix = sparse.csr_matrix(np.array([[1, 0, 2], [0, 3, 0]], np.float32))
    with write_folder(tmp_path / "m") as writer:
        for name in ("indptr", "indices", "data"):
            writer.append(name, getattr(matrix, name))
        writer.append("times", np.arange(3))
        writer.add_ids("user_ids", IdMap(["ann", "bob"]))
        writer.add_ids("item_ids", IdMap([4, 5, 6]))
        writer.add_titles(("a", "", "ü"))
        writer.finish(2, 3)
    return tmp_path / "m"


def change(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    manifest = json.loads((folder / MANIFEST).read_text())
    change(manifest)
    (folder / MANIFEST).write_text(json.dumps(manifest))


def rewrite(folder: Path, name: str, values: Any, dtype: str) -> None:
    """Writes other numbers, as if they had always been there."""
    array = np.array(values, dtype)
    (folder / name).write_bytes(array.tobytes())
    described = {"dtype": dtype, "size": len(array), "crc32": zlib.crc32(array.tobytes())}
    change(folder, lambda manifest: manifest["arrays"].update({name: described}))


def test_what_was_written_is_read(folder: Path) -> None:
    found = Interactions.open_mapped(str(folder))
    assert found.matrix.toarray().tolist() == [[1, 0, 2], [0, 3, 0]]
    assert found.user_ids == IdMap(["ann", "bob"])
    assert found.item_ids == IdMap([4, 5, 6])
    assert found.titles == ("a", "", "ü")
    assert found.times is not None
    assert found.times.tolist() == [0, 1, 2]
    assert sorted(path.name for path in folder.parent.iterdir()) == ["m"]


NAMES = ("indptr", "indices", "data", "times", "user_ids.bytes", "user_ids.offsets", "item_ids.int64", "titles.bytes")


@pytest.mark.parametrize("name", NAMES)
def test_every_array_is_checked(folder: Path, name: str) -> None:
    whole = (folder / name).read_bytes()
    (folder / name).write_bytes(whole[:-1])
    with pytest.raises(FileFormatError, match=rf"{name} has {len(whole) - 1} bytes, not {len(whole)}: it was cut"):
        Interactions.open_mapped(folder)
    (folder / name).write_bytes(bytes([whole[0] ^ 64]) + whole[1:])
    with pytest.raises(FileFormatError, match=f"{name} are not those that were written"):
        Interactions.open_mapped(folder)
    (folder / name).unlink()
    with pytest.raises(FileFormatError, match=f"{name} has 0 bytes"):
        Interactions.open_mapped(folder)


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (lambda manifest: manifest.update(format_version=2), "has format version 2, this library reads 1; upgrade"),
        (lambda manifest: manifest.update(format="a checkpoint"), "something else than interactions"),
        (lambda manifest: manifest.pop("format"), "holds no interactions that were written with mapped_to"),
        (lambda manifest: manifest.update(shape=[2]), "was damaged"),
        (lambda manifest: manifest.update(shape=[2, -3]), "was damaged"),
        (lambda manifest: manifest.update(shape=[2, 4]), "was damaged"),
        (lambda manifest: manifest.update(shape=[3, 3]), "was damaged"),
        (lambda manifest: manifest.update(shape=[2**45, 3]), "was damaged: it tells of a matrix of .35184372088832, 3"),
        (lambda manifest: manifest.update(shape=[2, 2**80]), "was damaged"),
        (lambda manifest: manifest.update(arrays=[]), "was damaged"),
        (lambda manifest: manifest["arrays"].pop("indices"), "names no 'indices'"),
        (lambda manifest: manifest["arrays"].pop("user_ids.bytes"), "bytes and offsets, not as"),
        (lambda manifest: manifest["arrays"].update({"../m/data": manifest["arrays"]["data"]}), "was damaged"),
        (lambda manifest: manifest["arrays"]["data"].update(dtype="|O8"), "was damaged"),
        (lambda manifest: manifest["arrays"]["data"].update(size=-3), "was damaged"),
        (lambda manifest: manifest["arrays"]["data"].update(crc32=None), "not those that were written"),
    ],
)
def test_a_manifest_of_something_else_is_refused(
    folder: Path, made: Callable[[dict[str, Any]], Any], message: str
) -> None:
    change(folder, made)
    with pytest.raises(FileFormatError, match=message):
        Interactions.open_mapped(folder)


@pytest.mark.parametrize(
    ("name", "values", "dtype"),
    [
        ("indices", [0, 9, 1], "<i4"),
        ("indices", [-1, 2, 1], "<i4"),
        ("indptr", [0, 3, 2], "<i4"),
        ("indptr", [0, 2, 9], "<i4"),
        ("data", [1, float("nan"), 3], "<f4"),
        ("data", [1, 2], "<f4"),
        ("times", [1, 2], "<i8"),
        ("item_ids.int64", [4, 4, 5], "<i8"),
        ("item_ids.int64", [4, 5], "<i8"),
    ],
)
def test_numbers_that_are_no_interactions_are_refused(folder: Path, name: str, values: Any, dtype: str) -> None:
    rewrite(folder, name, values, dtype)
    with pytest.raises(FileFormatError, match="damaged"):
        Interactions.open_mapped(folder)


def test_a_folder_whose_place_was_being_taken_is_named(folder: Path) -> None:
    aside = folder.rename(folder.with_name(f".{folder.name}.before"))
    with pytest.raises(FileNotFoundError, match=f"rename {aside}"):
        Interactions.open_mapped(folder)
    aside.rename(folder)
    assert Interactions.open_mapped(folder).matrix.nnz


def test_other_folders_are_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="mapped_to"):
        Interactions.open_mapped(tmp_path / "nowhere")
    with pytest.raises(FileFormatError, match="holds no interactions"):
        Interactions.open_mapped(tmp_path)
    (folder / MANIFEST).write_bytes(b"\xff{")
    for there in (folder, folder / "data"):
        with pytest.raises(FileFormatError, match="holds no interactions"):
            Interactions.open_mapped(there)
    (folder / MANIFEST).write_text("[" * 100_000)
    with pytest.raises(FileFormatError, match="holds no interactions"):
        Interactions.open_mapped(folder)
    with pytest.raises(ConfigError, match="folder is 5"):
        Interactions.open_mapped(5)  # type: ignore[arg-type]


@pytest.mark.parametrize("num_read", range(9))
def test_a_folder_that_is_replaced_while_it_is_read_is_read_again(
    folder: Path, monkeypatch: pytest.MonkeyPatch, num_read: int
) -> None:
    array, read = mapped_folder._array, []

    def replaced_in_between(path: Path, described: Any) -> Any:
        if len(read) == num_read:
            with write_folder(folder) as writer:
                for name, values in (("indptr", [0, 1]), ("indices", [1]), ("data", [4.0])):
                    writer.append(name, np.array(values, np.float32 if name == "data" else np.int32))
                writer.add_ids("user_ids", IdMap(["cyd"]))
                writer.add_ids("item_ids", IdMap([7, 8]))
                writer.finish(1, 2)
        read.append(path)
        return array(path, described)

    monkeypatch.setattr(mapped_folder, "_array", replaced_in_between)
    assert Interactions.open_mapped(folder).matrix.toarray().tolist() == [[0, 4]]


def test_a_folder_can_be_moved(folder: Path, tmp_path: Path) -> None:
    shutil.move(folder, tmp_path / "elsewhere")
    assert Interactions.open_mapped(tmp_path / "elsewhere").num_users == 2


FULL_DISK = """
import resource, signal, sys
from recoder.data import Interactions
from recoder.errors import FileWriteError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # so that a write beyond the limit fails, as on a full disk
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
try:
    Interactions.from_parquet(sys.argv[1], user="u", item="i", mapped_to=sys.argv[2])
except FileWriteError as error:
    print(error)
"""


def test_a_full_disk_leaves_nothing(tmp_path: Path) -> None:
    pytest.importorskip("duckdb")
    import pyarrow as pa
    from pyarrow import parquet

    parquet.write_table(pa.table({"u": np.arange(5_000) % 70, "i": np.arange(5_000)}), tmp_path / "a.parquet")
    assert "File too large" in Forked(FULL_DISK, tmp_path / "a.parquet", tmp_path / "m").printed()
    assert [path.name for path in tmp_path.iterdir()] == ["a.parquet"]
