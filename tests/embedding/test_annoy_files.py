from __future__ import annotations

import copy
import os
import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recoder.embedding import AnnoyEmbeddingsIndex, ExactEmbeddingsIndex, VoyagerEmbeddingsIndex, annoy_files
from recoder.embedding.annoy_files import read_annoy_vectors
from recoder.errors import FileFormatError, UnsafeFileError

annoy = pytest.importorskip("annoy")

LEGACY = Path(__file__).parents[1] / "legacy"
EMBEDDINGS = np.load(LEGACY / "annoy_embeddings.npy")
NAMES = {f"item-{row}": row for row in range(200)}


@pytest.fixture
def legacy(tmp_path: Path) -> Path:
    """A copy of 0.4.0's two files; the state's path."""
    for name in ("annoy.index", "annoy.index.embeddings"):
        shutil.copy(LEGACY / name, tmp_path / name)
    return tmp_path / "annoy.index"


def loaded(path: Path, **settings: Any) -> AnnoyEmbeddingsIndex:
    index = AnnoyEmbeddingsIndex(**settings)
    index.load(str(path))
    return index


def write_state(path: Path, state: Any, protocol: int = 4) -> None:
    path.write_bytes(pickle.dumps(state, protocol=protocol))


def test_an_index_of_040_finds_the_true_neighbours(legacy: Path) -> None:
    index = loaded(legacy)
    exact = ExactEmbeddingsIndex(EMBEDDINGS, NAMES)
    exact.build()
    found = 0
    for name in NAMES:
        neighbours = index.get_nns_by_id(name, 10)
        assert neighbours[0] == name
        found += len(set(neighbours) & set(exact.get_nns_by_id(name, 10)))
        np.testing.assert_array_equal(index.get_embedding(name), EMBEDDINGS[NAMES[name]])
    assert found / 2000 > 0.85
    assert index.get_similarity("item-3", "item-4") == exact.get_similarity("item-3", "item-4")


def test_settings_come_from_the_constructor(legacy: Path) -> None:
    exact = ExactEmbeddingsIndex(EMBEDDINGS, NAMES, include_distances=True)
    exact.build()
    thorough = loaded(legacy, search_k=10_000, include_distances=True)
    assert thorough.get_nns_by_id("item-5", 10) == exact.get_nns_by_id("item-5", 10)


def test_a_copy_of_an_index_of_040_holds_its_vectors_and_ids(legacy: Path) -> None:
    index = loaded(legacy, search_k=10_000)
    for other in (copy.deepcopy(index), pickle.loads(pickle.dumps(index))):
        assert other.get_nns_by_id("item-5", 10) == index.get_nns_by_id("item-5", 10)
        np.testing.assert_array_equal(other.get_embedding("item-7"), EMBEDDINGS[7])


def test_distances_are_annoys_own(legacy: Path) -> None:
    raw = annoy.AnnoyIndex(16, "angular")
    raw.load(str(legacy) + ".embeddings")
    rows, distances = raw.get_nns_by_item(9, 8, include_distances=True)
    ids, ours = loaded(legacy, include_distances=True).get_nns_by_id("item-9", 8)
    assert ids == [f"item-{row}" for row in rows]
    np.testing.assert_allclose(ours, distances, atol=1e-3)  # near 0 the root magnifies float32's last digit


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize(
    "id_map",
    [
        NAMES,
        {row: row for row in range(200)},
        {np.int64(7 * row): row for row in range(200)},
        {np.str_(f"é{row}"): np.int32(row) for row in range(200)},
    ],
    ids=["str", "int", "np.int64", "np.str_"],
)
def test_states_of_every_protocol_and_of_numpy_ids_load(legacy: Path, protocol: int, id_map: Any) -> None:
    if protocol < 3 and isinstance(next(iter(id_map)), np.generic):
        protocol = 3  # the least that Python 3 ever wrote unasked; below it bytes need a name to be looked up
    write_state(legacy, {"embedding_size": 16, "id_map": id_map}, protocol)
    index = loaded(legacy)
    raw_id = list(id_map)[3]
    assert index.get_nns_by_id(raw_id, 1) == [raw_id]
    np.testing.assert_array_equal(index.get_embedding(raw_id), EMBEDDINGS[3])


class Trap:
    """What a hostile file would hold: unpickling it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("nested", [False, True])
def test_a_pickle_that_runs_code_is_refused_before_anything_runs(
    legacy: Path, protocol: int, nested: bool, tmp_path: Path
) -> None:
    trap = Trap(tmp_path / "sprung")
    write_state(legacy, {"embedding_size": 16, "id_map": {"a": trap}} if nested else trap, protocol)
    with pytest.raises(UnsafeFileError, match="mkdir"):
        loaded(legacy)
    assert not (tmp_path / "sprung").exists()
    pickle.loads(legacy.read_bytes())
    assert (tmp_path / "sprung").exists(), "the trap is a real one"


@pytest.mark.parametrize("value", [np.float64(1), np.array([1]), np.datetime64("2020-01-01"), np.dtype("O")])
def test_other_numpy_objects_are_no_ids(legacy: Path, value: Any) -> None:
    write_state(legacy, {"embedding_size": 16, "id_map": {"a": value}})
    with pytest.raises(FileFormatError, match=r"annoy\.index"):
        loaded(legacy)


def test_an_object_scalar_does_not_unpickle_its_bytes(legacy: Path, tmp_path: Path) -> None:
    # numpy's own scalar() hands the bytes of an object dtype to pickle.loads
    inner = pickle.dumps(Trap(tmp_path / "sprung"))

    class Scalar:
        def __reduce__(self) -> Any:
            return np.float64(1).__reduce__()[0], (np.dtype("O"), inner)

    write_state(legacy, {"embedding_size": 16, "id_map": {"a": Scalar()}})
    with pytest.raises(UnsafeFileError, match="numpy O8"):
        loaded(legacy)
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ([1, 2], "not the state of an index"),
        ({"embedding_size": 16}, "not the state of an index"),
        ({"embedding_size": 16, "id_map": {"a": 0}, "more": 1}, "not the state of an index"),
        ({"embedding_size": "16", "id_map": {"a": 0}}, "no embedding size"),
        ({"embedding_size": True, "id_map": {"a": 0}}, "no embedding size"),
        ({"embedding_size": 0, "id_map": {"a": 0}}, "no embedding size"),
        ({"embedding_size": 16, "id_map": [0]}, "no ids"),
        ({"embedding_size": 16, "id_map": {}}, "no ids"),
        ({"embedding_size": 16, "id_map": {"a": "b"}}, "exactly one id"),
        ({"embedding_size": 16, "id_map": {"a": 1}}, "none has row 0"),
        ({"embedding_size": 16, "id_map": {(1, 2): 0}}, "not a whole index"),
        ({"embedding_size": 16, "id_map": {"a": 0, "b": 1}}, "not an Annoy index of 2 vectors"),
        ({"embedding_size": 12, "id_map": NAMES}, "with 12 dimensions"),
        ({"embedding_size": 10**9, "id_map": NAMES}, "does not fit"),
    ],
)
def test_a_state_that_is_none_is_an_error(legacy: Path, state: Any, words: str) -> None:
    write_state(legacy, state)
    with pytest.raises(FileFormatError, match=words):
        loaded(legacy)


@pytest.mark.parametrize("share", [0.001, 0.01, 0.5, 0.999])
def test_a_truncated_state_is_an_error(legacy: Path, share: float) -> None:
    data = legacy.read_bytes()
    legacy.write_bytes(data[: int(share * len(data))])
    with pytest.raises(FileFormatError, match="damaged or cut short"):
        loaded(legacy)


def test_the_other_classes_say_whose_file_it_is_not(legacy: Path) -> None:
    for kind in (ExactEmbeddingsIndex, VoyagerEmbeddingsIndex):
        with pytest.raises(FileFormatError, match="not an index file"):
            kind().load(legacy)


def test_a_missing_second_file_is_an_error(legacy: Path) -> None:
    Path(f"{legacy}.embeddings").unlink()
    with pytest.raises(FileFormatError, match=r"needs the file annoy\.index\.embeddings in the same folder"):
        loaded(legacy)


NODE = 4 * (3 + 16)


@pytest.mark.parametrize("length", [0, 1, NODE - 1, NODE, 100 * NODE, 200 * NODE, 300 * NODE, 400 * NODE, 30_000])
def test_a_truncated_second_file_is_an_error_and_no_crash(legacy: Path, length: int) -> None:
    # Annoy itself takes several of these lengths, and crashes when asked
    second = Path(f"{legacy}.embeddings")
    second.write_bytes(second.read_bytes()[:length])
    with pytest.raises(FileFormatError, match="not an Annoy index of 200 vectors with 16 dimensions"):
        loaded(legacy)


@pytest.mark.parametrize("content", ["noise", "zeros", "ones"])
def test_a_foreign_second_file_of_the_right_length_is_an_error_and_no_crash(legacy: Path, content: str) -> None:
    second = Path(f"{legacy}.embeddings")
    size = second.stat().st_size
    noise = np.random.default_rng(0).bytes(size)
    second.write_bytes({"noise": noise, "zeros": bytes(size), "ones": b"\xff" * size}[content])
    with pytest.raises(FileFormatError, match="not an Annoy index"):
        loaded(legacy)


@pytest.mark.parametrize("child", [-1, 524, 2**31 - 1])
def test_a_node_that_points_out_of_bounds_is_an_error(legacy: Path, child: int) -> None:
    second = Path(f"{legacy}.embeddings")
    nodes = np.frombuffer(second.read_bytes(), dtype="<i4").reshape(-1, 19).copy()
    for row in range(200, len(nodes)):
        changed = nodes.copy()
        changed[row, 1] = child
        second.write_bytes(changed.tobytes())
        with pytest.raises(FileFormatError, match="point outside"):
            read_annoy_vectors(second, 200, 16)


def test_nodes_that_point_in_a_circle_are_an_error(legacy: Path) -> None:
    second = Path(f"{legacy}.embeddings")
    nodes = np.frombuffer(second.read_bytes(), dtype="<i4").reshape(-1, 19).copy()
    split = int(np.flatnonzero(nodes[200:, 0] > 18)[0]) + 200
    nodes[split, 1] = split
    second.write_bytes(nodes.tobytes())
    with pytest.raises(FileFormatError, match="point outside"):
        read_annoy_vectors(second, 200, 16)


def nodes_of(path: Path) -> Any:
    return np.frombuffer(path.read_bytes(), dtype="<i4").reshape(-1, 19).copy()


@pytest.mark.parametrize("descendants", [19, 199, 200])
@pytest.mark.parametrize("children", [(1, 1), (1, 2)])
def test_nodes_that_share_their_children_are_an_error(
    legacy: Path, descendants: int, children: tuple[int, int]
) -> None:
    # a search would come to the first of them 2^40 times, or as often as Fibonacci's numbers grow
    second = Path(f"{legacy}.embeddings")
    nodes = nodes_of(second)
    first = 200 + 2
    chain = nodes[np.r_[:first, np.full(41, -1)]]
    chain[200:first, 0] = 18  # leaves
    chain[200:first, 1:] = 0
    for row in range(first, len(chain)):
        chain[row, :3] = descendants, row - children[0], row - children[1]
    chain[-1, 0] = 200
    second.write_bytes(chain.tobytes())
    with pytest.raises(FileFormatError, match="its trees share nodes, so that a search might not end"):
        read_annoy_vectors(second, 200, 16)


def test_a_node_of_two_trees_is_an_error(legacy: Path) -> None:
    second = Path(f"{legacy}.embeddings")
    nodes = nodes_of(second)
    splits = np.flatnonzero((nodes[:, 0] > 18) & (nodes[:, 0] < 200) & (nodes[:, 1] >= 200))
    for row in splits[1:]:
        changed = nodes.copy()
        changed[row, 2] = nodes[splits[0], 1]
        second.write_bytes(changed.tobytes())
        with pytest.raises(FileFormatError, match="share nodes"):
            read_annoy_vectors(second, 200, 16)
    second.write_bytes(nodes.tobytes())
    read_annoy_vectors(second, 200, 16)


def test_nan_in_the_vectors_is_an_error(legacy: Path) -> None:
    second = Path(f"{legacy}.embeddings")
    data = np.frombuffer(second.read_bytes(), dtype="<f4").reshape(-1, 19).copy()
    data[5, 10] = np.nan
    second.write_bytes(data.tobytes())
    with pytest.raises(FileFormatError, match="NaN"):
        loaded(legacy)


@pytest.mark.parametrize("size", [1, 2, 3, 19, 500])
@pytest.mark.parametrize("dims", [1, 2, 16])
@pytest.mark.parametrize("threads", [1, 4])
def test_every_real_annoy_file_passes_the_check(size: int, dims: int, threads: int, tmp_path: Path) -> None:
    vectors = np.random.default_rng(size).standard_normal((size, dims)).astype(np.float32)
    vectors[size // 2 :: 3] = vectors[0]
    forest = annoy.AnnoyIndex(dims, "angular")
    for row, vector in enumerate(vectors):
        forest.add_item(row, vector)
    forest.build(7, n_jobs=threads)
    forest.save(str(tmp_path / "forest"))
    np.testing.assert_array_equal(read_annoy_vectors(tmp_path / "forest", size, dims), vectors)


def test_a_refused_pickle_cannot_mark_what_it_looks_up(tmp_path):
    # a GLOBAL, then a BUILD that would set attributes of what was found
    path = tmp_path / "index"
    path.write_bytes(b"\x80\x02cnumpy.core.multiarray\nscalar\n(N}X\x07\x00\x00\x00__doc__X\x03\x00\x00\x00badstb.")
    with pytest.raises(FileFormatError):
        AnnoyEmbeddingsIndex().load(path)
    assert annoy_files._scalar.__doc__ is None
    path.write_bytes(b"\x80\x02cnumpy\ndtype\n(N}X\x07\x00\x00\x00__doc__X\x03\x00\x00\x00badstb.")
    with pytest.raises(FileFormatError):
        AnnoyEmbeddingsIndex().load(path)
    assert annoy_files._DtypeStandIn.__doc__ != "bad"


@pytest.mark.parametrize("name", [("numpy", "dtype"), ("numpy.core.multiarray", "scalar")])
@pytest.mark.parametrize("attribute", ["__init__", "__setstate__", "__call__", "__defaults__", "__doc__", "__dict__"])
def test_a_refused_pickle_changes_nothing_in_the_process(
    legacy: Path, tmp_path: Path, name: tuple[str, str], attribute: str
) -> None:
    def everything() -> list[Any]:
        looked_up = [annoy_files._scalar, annoy_files._DtypeStandIn, annoy_files._PlainUnpickler]
        parts = ["__doc__", "__init__", "__call__", "__defaults__"]
        return [dict(vars(thing)) for thing in looked_up] + [
            getattr(thing, part, None) for thing in looked_up for part in parts
        ]

    before = everything()
    for state in ({attribute: None}, (None, {attribute: None}), (None, {attribute: ("zz",)})):
        path = tmp_path / "hostile"
        found = f"\x80\x02c{name[0]}\n{name[1]}\n".encode()
        path.write_bytes(found + pickle.dumps(state, 2)[2:-1] + b"b.")
        with pytest.raises(FileFormatError):
            loaded(path)
        assert str(everything()) == str(before)
    write_state(legacy, {"embedding_size": 16, "id_map": {np.int64(7 * row): row for row in range(200)}})
    assert loaded(legacy).get_nns_by_id(21, 1) == [21]
