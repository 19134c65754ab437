from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

from recoder.embedding import AnnoyEmbeddingsIndex, ExactEmbeddingsIndex, VoyagerEmbeddingsIndex
from recoder.embedding import files as index_files
from recoder.errors import FileFormatError, FileWriteError

KINDS = [ExactEmbeddingsIndex, AnnoyEmbeddingsIndex, VoyagerEmbeddingsIndex]
STORED = [AnnoyEmbeddingsIndex]
ID_MAPS = {
    "rows": None,
    "ints": {2**62 - row: row for row in range(90)},
    "strings": {f"é{row}" * (row % 3): row for row in range(1, 90) if row % 3} | {"": 0},
}
ID_MAPS["strings"] |= {f"rest {row}": row for row in range(1, 90) if row % 3 == 0}


def embeddings(seed: int = 0) -> Any:
    return np.random.default_rng(seed).standard_normal((90, 6)).astype(np.float32)


def saved(kind: type, path: Path, id_map: Any = None, seed: int = 0) -> Any:
    index = kind(embeddings(seed), id_map)
    index.build(str(path))
    return index


def loaded(kind: type, path: Path) -> Any:
    index = kind()
    index.load(str(path))
    return index


def sibling(path: Path) -> Path:
    (found,) = [other for other in path.parent.iterdir() if other != path]
    return found


def same(first: Any, second: Any) -> bool:
    ours, theirs = (index.nearest_rows(np.arange(90), 8) for index in (first, second))
    return all(np.array_equal(a, b) for a, b in zip(ours, theirs, strict=True))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("ids", ID_MAPS)
def test_a_loaded_index_answers_as_the_one_that_was_built(kind: type, ids: str, tmp_path: Path) -> None:
    index = saved(kind, tmp_path / "my.index", ID_MAPS[ids])
    again = loaded(kind, tmp_path / "my.index")
    assert same(index, again)
    for raw_id in list(ID_MAPS[ids] or range(90))[:10]:
        assert again.get_nns_by_id(raw_id, 7) == index.get_nns_by_id(raw_id, 7)
        np.testing.assert_array_equal(again.get_embedding(raw_id), index.get_embedding(raw_id))


@pytest.mark.parametrize("kind", STORED)
def test_the_folder_can_be_moved_and_the_state_renamed(kind: type, tmp_path: Path) -> None:
    index = saved(kind, tmp_path / "old" / "my.index")
    (tmp_path / "old").rename(tmp_path / "new")
    (tmp_path / "new" / "my.index").rename(tmp_path / "new" / "other.index")
    assert same(index, loaded(kind, tmp_path / "new" / "other.index"))


@pytest.mark.parametrize("kind", STORED)
def test_the_second_file_stands_beside_the_first_and_is_called_after_it(kind: type, tmp_path: Path) -> None:
    saved(kind, tmp_path / "my.index")
    assert sibling(tmp_path / "my.index").name.startswith("my.index.")


@pytest.mark.parametrize("kind", STORED)
def test_building_again_replaces_both_files(kind: type, tmp_path: Path) -> None:
    path = tmp_path / "my.index"
    saved(kind, path)
    index = saved(kind, path, seed=1)
    assert len(list(tmp_path.iterdir())) == 2
    assert same(index, loaded(kind, path))


@pytest.mark.parametrize("kind", STORED)
def test_an_open_index_survives_its_replacement(kind: type, tmp_path: Path) -> None:
    path = tmp_path / "my.index"
    index = saved(kind, path)
    opened = loaded(kind, path)
    saved(kind, path, seed=1)
    assert same(index, opened)


@pytest.mark.parametrize("names", [("first.index", "copy.index"), ("films.index.new", "films.index")])
def test_a_copied_state_keeps_its_sibling_when_it_is_replaced(names: tuple[str, str], tmp_path: Path) -> None:
    first, copy = (tmp_path / name for name in names)
    index = saved(AnnoyEmbeddingsIndex, first)
    shutil.copy(first, copy)
    saved(AnnoyEmbeddingsIndex, copy, seed=1)
    assert same(index, loaded(AnnoyEmbeddingsIndex, first))


@pytest.mark.parametrize("kind", STORED)
@pytest.mark.parametrize("fails", ["structure", "fingerprint", "state", "state's rename"])
def test_a_failure_while_saving_leaves_the_previous_index_whole(
    kind: type, fails: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "my.index"
    previous = saved(kind, path)
    before = sorted(file.name for file in tmp_path.iterdir())
    fresh = kind(embeddings(1))

    def full_disk(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    if fails == "structure":
        backend = type(fresh._new_backend())
        monkeypatch.setattr(backend, "save", full_disk)
    elif fails == "fingerprint":
        monkeypatch.setattr(index_files, "_fingerprint", full_disk)
    elif fails == "state":
        monkeypatch.setattr(index_files, "save_file", full_disk)
    else:
        real = Path.replace
        monkeypatch.setattr(Path, "replace", lambda a, b: full_disk() if b == path else real(a, b))
    with pytest.raises(OSError, match="No space left"):
        fresh.build(path)
    monkeypatch.undo()
    assert sorted(file.name for file in tmp_path.iterdir()) == before
    assert same(previous, loaded(kind, path))
    assert same(fresh, saved(kind, tmp_path / "elsewhere", seed=1)), "what could not be saved is built all the same"


def test_an_interrupt_just_after_the_rename_leaves_the_new_index_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "my.index"
    saved(AnnoyEmbeddingsIndex, path)
    real = Path.replace

    def interrupted(self: Path, target: Path) -> None:
        real(self, target)
        if target == path:
            raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        AnnoyEmbeddingsIndex(embeddings(1)).build(path)
    monkeypatch.undo()
    assert same(saved(AnnoyEmbeddingsIndex, tmp_path / "other" / "i", seed=1), loaded(AnnoyEmbeddingsIndex, path))


@pytest.mark.parametrize("kind", KINDS)
def test_a_folder_that_cannot_be_written_is_an_error(kind: type, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(FileWriteError, match="cannot write"):
        saved(kind, tmp_path / "file" / "my.index")


@pytest.mark.parametrize("kind", KINDS)
def test_a_missing_file_is_the_systems_error(kind: type, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        loaded(kind, tmp_path / "nothing")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("content", [b"", b"x", b"PK\x03\x04 a zip file, for once", b"\0" * 500, b'{"a": 1}' * 9])
def test_a_foreign_file_is_named_as_such(kind: type, content: bytes, tmp_path: Path) -> None:
    (tmp_path / "foreign").write_bytes(content)
    with pytest.raises(FileFormatError, match="foreign is not an index file"):
        loaded(kind, tmp_path / "foreign")


@pytest.mark.parametrize("metadata", [None, {"recoder": "{"}, {"recoder": "[" * 100_000}])
def test_a_safetensors_file_of_something_else_is_named_as_such(metadata: Any, tmp_path: Path) -> None:
    save_file({"weight": np.zeros((2, 2))}, tmp_path / "weights", metadata)
    with pytest.raises(FileFormatError, match="not an index file of recoder"):
        loaded(ExactEmbeddingsIndex, tmp_path / "weights")
    saved(ExactEmbeddingsIndex, tmp_path / "weights")  # in its place


@pytest.mark.parametrize("kind", STORED)
@pytest.mark.parametrize("step", ["recoder.embedding.files._checked_sibling", "recoder.embedding.index.read_index"])
def test_an_index_that_is_replaced_while_it_is_read_is_read_again(
    kind: type, step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "my.index"
    saved(kind, path)
    newer: list[Any] = []
    call = {"files": index_files._checked_sibling, "index": index_files.read_index}[step.split(".")[2]]

    def replaced_around(*arguments: Any) -> Any:
        before = call(*arguments) if step.endswith("read_index") else None
        if not newer:
            newer.append(saved(kind, path, seed=1))
        return before or call(*arguments)

    monkeypatch.setattr(step, replaced_around)
    assert same(loaded(kind, path), newer[0])


def test_an_index_of_another_class_is_named_as_such(tmp_path: Path) -> None:
    saved(ExactEmbeddingsIndex, tmp_path / "exact")
    with pytest.raises(FileFormatError, match="kind 'exact', not 'annoy'"):
        loaded(AnnoyEmbeddingsIndex, tmp_path / "exact")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.999])
def test_a_truncated_state_is_an_error(kind: type, share: float, tmp_path: Path) -> None:
    path = tmp_path / "my.index"
    saved(kind, path, ID_MAPS["strings"])
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    with pytest.raises(FileFormatError, match=r"my\.index is not"):
        loaded(kind, path)


@pytest.mark.parametrize("kind", STORED)
@pytest.mark.parametrize("damage", ["truncated", "empty", "one bit", "another index's", "missing"])
def test_a_damaged_second_file_is_an_error(kind: type, damage: str, tmp_path: Path) -> None:
    path = tmp_path / "my.index"
    saved(kind, path)
    second = sibling(path)
    data = bytearray(second.read_bytes())
    if damage == "truncated":
        second.write_bytes(data[: len(data) // 2])
    elif damage == "empty":
        second.write_bytes(b"")
    elif damage == "one bit":
        data[len(data) // 2] ^= 1
        second.write_bytes(data)
    elif damage == "another index's":
        saved(kind, tmp_path / "other" / "i", seed=1)
        shutil.copy(sibling(tmp_path / "other" / "i"), second)
    else:
        second.unlink()
    with pytest.raises(FileFormatError, match="same folder" if damage == "missing" else "checksum differs"):
        loaded(kind, path)


def rewritten(path: Path, change: Any) -> None:
    """Applies ``change(tensors, description)`` to a state file."""
    with safe_open(path, "np") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
        description = json.loads(file.metadata()["recoder"])
    change(tensors, description)
    save_file(tensors, path, {"recoder": json.dumps(description)})


def test_a_voyager_index_does_not_open_a_graph_that_its_state_names(tmp_path: Path) -> None:
    # with a fitting checksum, as an attacker would write it; Voyager's reader would follow it out of bounds
    path, graph = tmp_path / "my.index", tmp_path / "my.index.voyager"
    index = saved(VoyagerEmbeddingsIndex, path)
    graph.write_bytes(b"VOYA" + b"\xff" * 5000)
    named = {"name": graph.name, **index_files._fingerprint(graph)}
    rewritten(path, lambda t, d: d.update(sibling=named))
    assert same(index, loaded(VoyagerEmbeddingsIndex, path))


def nan(tensors: dict[str, Any], _: Any) -> None:
    tensors["vectors"][0, 0] = np.nan


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t, d: d.update(format_version=2), "format version 2 but this release reads 1"),
        (lambda t, d: d.pop("format_version"), "not an index file"),
        (lambda t, d: t.pop("vectors"), "no matrix"),
        (lambda t, d: t.update(vectors=np.zeros(90, np.float32)), "no matrix"),
        (lambda t, d: t.update(vectors=np.zeros((90, 6))), "float32"),
        (nan, "NaN"),
        (lambda t, d: t.update(vectors=t["vectors"][:50]), "90 ids for 50 embeddings"),
        (lambda t, d: t.pop("ids.offsets"), "not a whole index file"),
        (lambda t, d: t.update({"ids.offsets": t["ids.offsets"][::-1].copy()}), "not a whole index file"),
        (lambda t, d: t.update(surprise=np.zeros(3)), "not a whole index file"),
        (lambda t, d: d.update(sibling=None), "no file of its search structure"),
        (lambda t, d: d.update(sibling="x"), "plain file name"),
        (lambda t, d: d["sibling"].update(name="../" + d["sibling"]["name"]), "plain file name"),
        (lambda t, d: d["sibling"].update(name=".."), "plain file name"),
        (lambda t, d: d["sibling"].update(name="/etc/hostname"), "plain file name"),
        (lambda t, d: d["sibling"].update(name=7), "plain file name"),
        (lambda t, d: d["sibling"].pop("blake2b"), "checksum"),
    ],
)
def test_a_state_that_contradicts_itself_is_an_error(change: Any, words: str, tmp_path: Path) -> None:
    path = tmp_path / "my.index"
    saved(AnnoyEmbeddingsIndex, path, ID_MAPS["strings"])
    rewritten(path, change)
    with pytest.raises(FileFormatError, match=words):
        loaded(AnnoyEmbeddingsIndex, path)


@pytest.mark.parametrize("kind", STORED)
def test_a_structure_of_other_vectors_is_an_error_even_if_its_checksum_fits(kind: type, tmp_path: Path) -> None:
    path = tmp_path / "my.index"
    saved(kind, path)
    rewritten(path, lambda t, d: t.update(vectors=t["vectors"][:80].copy()))
    with pytest.raises(FileFormatError, match=r"(90|80)"):
        loaded(kind, path)
