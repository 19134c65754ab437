from __future__ import annotations

import copy
import pickle
import sys
from typing import Any

import numpy as np
import pytest

from recoder.embedding import AnnoyEmbeddingsIndex, EmbeddingsIndex, ExactEmbeddingsIndex, VoyagerEmbeddingsIndex
from recoder.errors import (
    ConfigError,
    DataError,
    DataTypeError,
    EmptyDataError,
    MissingDependencyError,
    NotInitializedError,
    ShapeError,
    UnknownIdError,
)

KINDS = [ExactEmbeddingsIndex, AnnoyEmbeddingsIndex, VoyagerEmbeddingsIndex]


def built(embeddings: Any, id_map: Any = None, kind: type = ExactEmbeddingsIndex, **settings: Any) -> Any:
    index = kind(embeddings, id_map, **settings)
    index.build()
    return index


def normal(rows: int, dims: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).standard_normal((rows, dims)).astype(np.float32)


@pytest.mark.parametrize(("kind", "package"), [(AnnoyEmbeddingsIndex, "annoy"), (VoyagerEmbeddingsIndex, "voyager")])
def test_an_absent_package_is_named_with_its_pip_line(
    kind: type, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingDependencyError, match=rf'pip install "recsys-recoder\[{package}\]"'):
        built(normal(3, 2), kind=kind)


def test_the_base_class_cannot_be_used_itself() -> None:
    with pytest.raises(TypeError, match="abstract"):
        EmbeddingsIndex()  # type: ignore[abstract]


@pytest.mark.parametrize("kind", KINDS)
def test_use_before_build_or_load_is_an_error(kind: type) -> None:
    for index in (kind(normal(3, 2)), kind()):
        for call in (
            lambda index=index: index.get_embedding(0),
            lambda index=index: index.get_nns_by_id(0, 1),
            lambda index=index: index.get_nns_by_embedding([0.0, 1.0], 1),
            lambda index=index: index.get_similarity(0, 1),
            lambda index=index: index.nearest_rows([0], 1),
        ):
            with pytest.raises(NotInitializedError, match="build"):
                call()
    with pytest.raises(ConfigError, match="without embeddings"):
        kind().build()


@pytest.mark.parametrize(
    ("embeddings", "error", "words"),
    [
        (np.zeros(3), ShapeError, r"shape \(3,\)"),
        (np.zeros((2, 2, 2)), ShapeError, "matrix"),
        (np.zeros((0, 4)), EmptyDataError, r"\(0, 4\)"),
        (np.zeros((4, 0)), EmptyDataError, r"\(4, 0\)"),
        ([[1.0, np.nan], [0.0, 1.0]], DataError, "1 of 2 rows, the first is row 0"),
        ([[1.0, 1.0], [0.0, np.inf]], DataError, "row 1"),
        ([[1e300, 1.0]], DataError, "infinite"),
        ([["a", "b"]], DataTypeError, "real numbers"),
        ([[1j, 0]], DataTypeError, "complex"),
    ],
)
def test_embeddings_that_cannot_be_used_are_refused_when_given(embeddings: Any, error: type, words: str) -> None:
    with pytest.raises(error, match=words):
        ExactEmbeddingsIndex(embeddings)


@pytest.mark.parametrize(
    ("id_map", "error", "words"),
    [
        ({"a": 0, "b": 1}, ConfigError, "2 ids for 3 embeddings and none has row 2"),
        ({"a": 0, "b": 1, "c": 1}, ConfigError, "none has row 2"),
        ({"a": 0, "b": 1, "c": 3}, ConfigError, "none has row 2"),
        ({"a": 0, "b": 1, "c": 2, "d": 2}, ConfigError, "twice"),
        ({"a": 0.0, "b": 1.0, "c": 2.0}, ConfigError, "exactly one id"),
        ({}, ConfigError, "0 ids"),
        ({"a": 0, 1: 1, "c": 2}, DataTypeError, "strings"),
        (["a", "b", "c"], DataTypeError, "dict"),
    ],
)
def test_an_id_map_must_give_each_row_one_id(id_map: Any, error: type, words: str) -> None:
    with pytest.raises(error, match=words):
        ExactEmbeddingsIndex(np.eye(3), id_map)


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        (AnnoyEmbeddingsIndex, {"n_trees": 0}),
        (AnnoyEmbeddingsIndex, {"search_k": -2}),
        (VoyagerEmbeddingsIndex, {"m": 1}),
        (VoyagerEmbeddingsIndex, {"ef_construction": 0}),
        (VoyagerEmbeddingsIndex, {"search_ef": 0}),
    ],
)
def test_settings_out_of_range_are_refused(kind: type, settings: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match=next(iter(settings))):
        kind(np.eye(3), **settings)


@pytest.mark.parametrize(
    ("kind", "name", "limit"),
    [
        (AnnoyEmbeddingsIndex, "n_trees", "1, or -1 for Annoy's own choice"),
        (AnnoyEmbeddingsIndex, "search_k", "1, or -1 for Annoy's own choice"),
        (VoyagerEmbeddingsIndex, "m", "2"),
        (VoyagerEmbeddingsIndex, "ef_construction", "1"),
        (VoyagerEmbeddingsIndex, "search_ef", "1"),
    ],
)
@pytest.mark.parametrize("value", ["5", 2.5, -1.0, True, None, [5]])
def test_settings_of_another_type_are_refused(kind: type, name: str, limit: str, value: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        kind(np.eye(3), **{name: value})
    assert str(caught.value) == f"{name} is {value!r}; it must be a whole number of at least {limit}"


def test_annoys_own_choice_may_be_a_number_of_numpy() -> None:
    index = AnnoyEmbeddingsIndex(np.eye(3), n_trees=np.int64(-1), search_k=np.int32(7))
    assert (index.n_trees, index.search_k) == (-1, 7)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n", ["0", "3", 1.5, 2.0, True, None, 0, -1])
def test_an_n_that_is_no_whole_number_of_at_least_1_is_refused(kind: type, n: Any) -> None:
    index = built(normal(30, 4), kind=kind)
    for call in (
        lambda: index.get_nns_by_id(3, n),
        lambda: index.get_nns_by_embedding([1.0, 0, 0, 0], n),
        lambda: index.nearest_rows([3], n),
    ):
        with pytest.raises(ConfigError) as caught:
            call()
        assert str(caught.value) == f"n is {n!r}; it must be a whole number of at least 1"
    assert index.get_nns_by_id(3, np.int64(4)) == index.get_nns_by_id(3, 4)


@pytest.mark.parametrize("unknown", [3, -1, "a", 1.5, None, [1]])
def test_an_unknown_id_is_named_with_the_next_step(unknown: Any) -> None:
    with pytest.raises(UnknownIdError, match=r"not among this index's 3 ids \(0 to 2\); leave it out"):
        built(np.eye(3)).get_embedding(unknown)
    with pytest.raises(UnknownIdError, match="'x' to 'z'"):
        built(np.eye(3), {"x": 0, "y": 1, "z": 2}).get_embedding(unknown)


@pytest.mark.parametrize("kind", KINDS)
def test_distances_are_those_between_unit_vectors(kind: type) -> None:
    embeddings = normal(40, 6) * np.random.default_rng(1).uniform(0.1, 9, (40, 1)).astype(np.float32)
    index = built(embeddings, kind=kind, include_distances=True)
    ids, distances = index.get_nns_by_id(0, 40)
    units = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    expected = np.linalg.norm(units[ids] - units[0], axis=1)
    assert distances[0] < 1e-3
    np.testing.assert_allclose(distances[1:], expected[1:], atol=1e-5)
    assert distances == sorted(distances)
    vector_ids, vector_distances = index.get_nns_by_embedding(embeddings[0], 40)
    assert (vector_ids, vector_distances) == (ids, distances)


def test_every_kind_gives_the_same_numbers_for_the_same_pair() -> None:
    embeddings = normal(60, 5, seed=3)
    indices = [built(embeddings, kind=kind, include_distances=True) for kind in KINDS]
    answers = [index.get_nns_by_id(7, 60) for index in indices]
    assert answers[0] == answers[1] == answers[2]
    assert len({index.get_similarity(4, 9) for index in indices}) == 1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dims", [1, 2, 7, 33])
def test_copies_of_an_item_tie_and_stand_in_the_order_of_their_rows(kind: type, dims: int) -> None:
    rng = np.random.default_rng(dims)
    embeddings = np.repeat(rng.standard_normal((5, dims)), 9, axis=0)[rng.permutation(45)]
    index = built(embeddings, kind=kind)
    rows, cosines = index.nearest_rows(np.arange(45), 45)
    for row in range(45):
        copies = sorted(set(np.flatnonzero((embeddings == embeddings[row]).all(axis=1)).tolist()))
        if dims > 1:  # in one dimension all that point the same way are alike
            assert rows[row, :9].tolist() == [row, *(copy for copy in copies if copy != row)]
        assert (cosines[row, :9] == 1.0).all()


@pytest.mark.parametrize("kind", KINDS)
def test_an_index_of_zero_vectors_answers_with_similarity_zero(kind: type) -> None:
    index = built(np.zeros((300, 4)), kind=kind)
    for n in (1, 10, 299, 300, 301):
        rows, cosines = index.nearest_rows([17], n)
        assert rows[0, 0] == 17
        assert len(set(rows[0].tolist())) == min(n, 300)
        assert (cosines == 0).all()


def test_extreme_lengths_keep_their_directions() -> None:
    embeddings = np.array([[3e38, 3e38], [1e-40, 1e-40], [1e-40, -1e-40], [1, 0]])
    index = built(embeddings)
    assert index.get_similarity(0, 1) == pytest.approx(1, abs=1e-4)  # 1e-40 has few digits in float32
    assert index.get_similarity(0, 2) == pytest.approx(0, abs=1e-4)
    assert index.get_nns_by_id(0, 4) == [0, 1, 3, 2]


@pytest.mark.parametrize("kind", [AnnoyEmbeddingsIndex, VoyagerEmbeddingsIndex])
def test_builds_are_repeatable(kind: type) -> None:
    embeddings = normal(400, 8)
    first, second = built(embeddings, kind=kind), built(embeddings, kind=kind)
    for ours, theirs in zip(
        first.nearest_rows(np.arange(400), 20), second.nearest_rows(np.arange(400), 20), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)


def test_more_search_finds_more() -> None:
    embeddings = normal(2000, 32)
    truth, _ = built(embeddings).nearest_rows(np.arange(0, 2000, 20), 10)

    def recall(index: Any) -> float:
        found, _ = index.nearest_rows(np.arange(0, 2000, 20), 10)
        return float(np.mean([len(set(f) & set(t)) / 10 for f, t in zip(found.tolist(), truth.tolist(), strict=True)]))

    quick = recall(built(embeddings, kind=AnnoyEmbeddingsIndex, n_trees=2))
    thorough = recall(built(embeddings, kind=AnnoyEmbeddingsIndex, n_trees=2, search_k=20_000))
    assert quick < 0.7
    assert thorough > 0.99
    assert recall(built(embeddings, kind=VoyagerEmbeddingsIndex)) > 0.95


def test_a_batch_is_the_same_as_one_by_one() -> None:
    embeddings = normal(500, 16)
    index = built(embeddings)
    rows, cosines = index.nearest_rows_to(embeddings[:50], 7)
    for query in range(50):
        assert index.get_nns_by_embedding(embeddings[query], 7) == rows[query].tolist()
        assert index.get_similarity(query, int(rows[query, 3])) == cosines[query, 3]


def test_no_rows_are_no_neighbours() -> None:
    for n in (2, 9):
        rows, cosines = built(np.eye(3)).nearest_rows([], n)
        assert rows.shape == cosines.shape == (0, min(n, 3))


def test_a_row_outside_the_index_is_an_error() -> None:
    with pytest.raises(UnknownIdError, match="item 3 is outside this index's 3 embeddings"):
        built(np.eye(3)).nearest_rows([0, 3], 1)
    with pytest.raises(UnknownIdError, match="item -1"):
        built(np.eye(3)).nearest_rows([-1], 1)


def test_the_embeddings_that_were_passed_are_copied() -> None:
    embeddings = normal(5, 3)
    before = embeddings.copy()
    index = built(embeddings)
    embeddings[:] = 0
    np.testing.assert_array_equal(index.get_embedding(2), before[2])


def test_numpy_ids_are_ids() -> None:
    index = built(np.eye(3), {np.int64(10): np.int64(0), np.int64(20): 2, np.int64(30): 1})
    assert index.get_nns_by_id(np.int64(20), 3) == [20, 10, 30]
    assert built(np.eye(3)).get_nns_by_id(np.int32(1), 1) == [1]


@pytest.mark.parametrize("kind", KINDS)
def test_a_copy_answers_as_the_original(kind) -> None:
    vectors = np.random.default_rng(0).normal(size=(40, 5)).astype(np.float32)
    index = kind(vectors, include_distances=True)
    unbuilt = copy.deepcopy(index)
    index.build()
    for other in (copy.deepcopy(index), pickle.loads(pickle.dumps(index))):
        assert other.get_nns_by_id(3, 5) == index.get_nns_by_id(3, 5)
    with pytest.raises(NotInitializedError):
        unbuilt.get_nns_by_id(3, 5)


def test_a_voyager_index_has_one_file_and_its_reader_is_never_given_one(tmp_path) -> None:
    vectors = np.random.default_rng(0).normal(size=(40, 5)).astype(np.float32)
    VoyagerEmbeddingsIndex(vectors).build(tmp_path / "index")
    assert [path.name for path in tmp_path.iterdir()] == ["index"]
    loaded = VoyagerEmbeddingsIndex()
    loaded.load(tmp_path / "index")
    original = VoyagerEmbeddingsIndex(vectors)
    original.build()
    assert loaded.get_nns_by_id(3, 10) == original.get_nns_by_id(3, 10)


def test_an_index_is_found_and_renewed_through_a_link_in_another_folder(tmp_path):
    pytest.importorskip("annoy")
    (tmp_path / "data").mkdir()
    real, link = tmp_path / "data" / "v1.index", tmp_path / "current.index"
    rng = np.random.default_rng(0)
    AnnoyEmbeddingsIndex(rng.normal(size=(20, 4))).build(str(real))
    link.symlink_to(real)
    loaded = AnnoyEmbeddingsIndex()
    loaded.load(str(link))
    assert loaded.get_nns_by_id(3, 1) == [3]
    newer = rng.normal(size=(30, 4)).astype(np.float32)
    AnnoyEmbeddingsIndex(newer).build(str(link))
    assert link.is_symlink()
    assert len(list((tmp_path / "data").iterdir())) == 2
    for path in (real, link):
        again = AnnoyEmbeddingsIndex()
        again.load(str(path))
        np.testing.assert_array_equal(again.get_embedding(29), newer[29])


def test_equals_at_the_end_of_a_list_are_cut_by_their_rows():
    rng = np.random.default_rng(1)
    embeddings = rng.normal(size=(400, 8)).astype(np.float32)
    for row, length in zip(range(300, 309), (3, 0.7, 11, 1e-3, 5, 2.2, 0.01, 70, 9), strict=True):
        embeddings[row] = np.float32(length) * embeddings[7]
    index = ExactEmbeddingsIndex(embeddings)
    index.build()
    whole = index.get_nns_by_embedding(embeddings[7], 10)
    assert all(index.get_nns_by_embedding(embeddings[7], n) == whole[:n] for n in range(1, 10))


def test_a_matrix_is_no_vector_and_rows_are_whole_numbers():
    index = ExactEmbeddingsIndex(np.eye(3, dtype=np.float32))
    index.build()
    with pytest.raises(ShapeError, match=r"shape \(1, 3\); pass one vector"):
        index.get_nns_by_embedding(np.ones((1, 3)), 2)
    with pytest.raises(ConfigError, match=r"their rows are float64, no whole numbers; give each row .*exactly one id"):
        ExactEmbeddingsIndex(np.eye(3), {"a": 0.0, "b": 1.0, "c": 2.0})
