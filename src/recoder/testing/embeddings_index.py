"""What every embeddings index must do, as tests that an index of your own can be put through.

A subclass whose name starts with ``Test``, in a file that pytest collects, is all it takes::

    class TestMyIndex(EmbeddingsIndexSuite):
        def make_index(self, embeddings, id_map):
            return MyIndex(embeddings, id_map)
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from recoder.embedding.base import EmbeddingsIndex, ids_of

__all__ = ["EmbeddingsIndexSuite"]

_SIZE, _DIMS = 120, 12


class EmbeddingsIndexSuite(ABC):
    """Conformance tests of an ``EmbeddingsIndex``; only its documented methods are called.

    Attributes:
        min_recall: the share of the true neighbours that a search must find, over all items; 1 for an exact
            index.
        similarity_tolerance: how far a similarity may be from the cosine.
    """

    min_recall: float = 1.0
    similarity_tolerance: float = 1e-6

    @abstractmethod
    def make_index(self, embeddings: npt.NDArray[np.float32], id_map: Mapping[Any, int] | None) -> EmbeddingsIndex:
        """Returns an index over ``embeddings``, ready to be asked; ``id_map`` is raw id -> row, or None."""

    def test_an_embedding_comes_back_as_it_went_in(self) -> None:
        """Lengths and directions are kept."""
        embeddings = _embeddings()
        index = self.make_index(embeddings, None)
        for row in (0, 7, _SIZE - 1):
            np.testing.assert_allclose(index.get_embedding(row), embeddings[row], rtol=1e-6)

    def test_similarity_is_the_cosine(self) -> None:
        """From -1 to 1, the same both ways, whatever the lengths."""
        embeddings = _embeddings()
        embeddings[1] = -3 * embeddings[0]
        embeddings[2] = 5 * embeddings[0]
        index = self.make_index(embeddings, None)
        cosines = _cosines(embeddings)
        for first, second in [(0, 0), (0, 1), (0, 2), (3, 4), (4, 3), (5, 99)]:
            similarity = index.get_similarity(first, second)
            assert -1 <= similarity <= 1
            assert abs(similarity - cosines[first, second]) <= self.similarity_tolerance

    def test_an_item_is_the_first_of_its_neighbours(self) -> None:
        """An item counts as its own first neighbour."""
        index = self.make_index(_embeddings(), None)
        for row in range(_SIZE):
            assert ids_of(index.get_nns_by_id(row, 1)) == [row]
            assert ids_of(index.get_nns_by_id(row, 5))[0] == row

    def test_neighbours_come_once_each_and_best_first(self) -> None:
        """The list has ``n`` items and no repeats, in order of similarity."""
        index = self.make_index(_embeddings(), None)
        for row in range(0, _SIZE, 7):
            ids = ids_of(index.get_nns_by_id(row, 10))
            assert len(ids) == len(set(ids)) == 10
            similarities = np.array([index.get_similarity(row, other) for other in ids])
            assert (np.diff(similarities) <= 2 * self.similarity_tolerance).all(), similarities

    def test_neighbours_are_those_of_a_full_search(self) -> None:
        """Recall against a search of all items is at least ``min_recall``."""
        embeddings = _embeddings()
        index = self.make_index(embeddings, None)
        best = np.argsort(-_cosines(embeddings), axis=1)[:, :10]
        found = [len(set(best[row].tolist()) & set(ids_of(index.get_nns_by_id(row, 10)))) for row in range(_SIZE)]
        recall = sum(found) / best.size
        assert recall >= self.min_recall, recall

    def test_vectors_that_are_no_items_are_searched_for_as_they_are(self) -> None:
        """Recall, likewise."""
        embeddings, queries = _embeddings(), _embeddings(seed=12)[:40]
        index = self.make_index(embeddings, None)
        units = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
        best = np.argsort(-(queries @ units.T), axis=1)[:, :10]
        answers = [ids_of(index.get_nns_by_embedding(query, 10)) for query in queries]
        found = [len(set(wanted.tolist()) & set(answer)) for wanted, answer in zip(best, answers, strict=True)]
        assert sum(found) / best.size >= self.min_recall, found

    def test_distances_are_those_of_unit_vectors(self) -> None:
        """``sqrt(2 - 2 cos)``, where an answer has them."""
        index = self.make_index(_embeddings(), None)
        answer = index.get_nns_by_id(5, 7)
        if isinstance(answer, tuple):
            ids, distances = answer
            cosines = np.array([index.get_similarity(5, other) for other in ids])
            np.testing.assert_allclose(distances, np.sqrt(2 - 2 * cosines), atol=2 * self.similarity_tolerance**0.5)

    def test_the_length_of_a_vector_does_not_matter(self) -> None:
        """Searching by an item's vector, scaled, is searching by the item."""
        embeddings = _embeddings()
        index = self.make_index(embeddings, None)
        for row in (0, 31):
            by_vector = ids_of(index.get_nns_by_embedding(1000 * embeddings[row], 6))
            assert by_vector[0] == row
            assert by_vector == ids_of(index.get_nns_by_id(row, 6))

    def test_ids_of_an_id_map_go_in_and_come_out(self) -> None:
        """With an id map, raw ids take the place of row numbers everywhere."""
        embeddings = _embeddings()
        order = np.random.default_rng(5).permutation(_SIZE).tolist()
        names = {f"item {row}": row for row in order}
        named, plain = self.make_index(embeddings, names), self.make_index(embeddings, None)
        for row in (0, 50, _SIZE - 1):
            np.testing.assert_array_equal(named.get_embedding(f"item {row}"), plain.get_embedding(row))
            expected = [f"item {other}" for other in ids_of(plain.get_nns_by_id(row, 8))]
            assert ids_of(named.get_nns_by_id(f"item {row}", 8)) == expected
            assert ids_of(named.get_nns_by_embedding(embeddings[row], 8)) == expected
            assert named.get_similarity(f"item {row}", "item 3") == plain.get_similarity(row, 3)

    def test_asking_for_more_than_there_is_gives_the_shorter_list(self) -> None:
        """``n`` beyond the size is no error."""
        index = self.make_index(_embeddings()[:5], None)
        ids = ids_of(index.get_nns_by_id(2, 50))
        assert ids[0] == 2
        assert len(ids) == len(set(ids)) >= 5 * self.min_recall
        assert set(ids) <= set(range(5))

    def test_one_item_is_an_index(self) -> None:
        """The smallest index works."""
        index = self.make_index(_embeddings()[:1], None)
        assert ids_of(index.get_nns_by_id(0, 3)) == [0]
        assert ids_of(index.get_nns_by_embedding(np.ones(_DIMS, dtype=np.float32), 3)) == [0]

    def test_equal_embeddings_are_neighbours(self) -> None:
        """Copies of an item have similarity 1 and come before all else."""
        embeddings = _embeddings()
        embeddings[[40, 80]] = embeddings[10]
        index = self.make_index(embeddings, None)
        assert set(ids_of(index.get_nns_by_id(80, 3))) == {10, 40, 80}
        assert abs(index.get_similarity(10, 80) - 1) <= self.similarity_tolerance

    def test_a_zero_vector_is_similar_to_nothing(self) -> None:
        """It has no direction: similarity 0, and no NaN anywhere."""
        embeddings = _embeddings()
        embeddings[3] = 0
        index = self.make_index(embeddings, None)
        assert index.get_similarity(3, 4) == index.get_similarity(4, 3) == 0
        assert ids_of(index.get_nns_by_id(3, 4))[0] == 3
        assert 3 not in ids_of(index.get_nns_by_id(4, 4))
        assert len(ids_of(index.get_nns_by_embedding(np.zeros(_DIMS, dtype=np.float32), 4))) == 4

    def test_answers_are_the_callers_to_change(self) -> None:
        """Changing an answer does not change the next one."""
        index = self.make_index(_embeddings(), None)
        expected = list(ids_of(index.get_nns_by_id(0, 5)))
        ids_of(index.get_nns_by_id(0, 5)).clear()
        assert ids_of(index.get_nns_by_id(0, 5)) == expected
        vector = np.array(index.get_embedding(0))
        index.get_embedding(0)[:] = 0
        np.testing.assert_array_equal(index.get_embedding(0), vector)

    def test_many_rows_at_once_are_the_same_as_one_by_one(self) -> None:
        """``nearest_rows`` agrees with ``get_nns_by_id`` and ``get_similarity``; it knows rows, not ids."""
        embeddings = _embeddings()
        plain = self.make_index(embeddings, None)
        rows_QK, similarities_QK = plain.nearest_rows([4, 9, 4], 6)
        assert rows_QK.shape == similarities_QK.shape == (3, 6)
        for row, found, similarities in zip([4, 9, 4], rows_QK, similarities_QK, strict=True):
            assert found.tolist() == ids_of(plain.get_nns_by_id(row, 6))
            expected = [plain.get_similarity(row, other) for other in found.tolist()]
            np.testing.assert_allclose(similarities, expected, atol=self.similarity_tolerance)

    def test_many_rows_at_once_are_rows_whatever_the_ids(self) -> None:
        """With an id map of whole numbers too, which could be taken for rows."""
        embeddings = _embeddings()
        shifted = self.make_index(embeddings, {(row + 1) % _SIZE: row for row in range(_SIZE)})
        plain = self.make_index(embeddings, None)
        found, similarities = shifted.nearest_rows([4, 9], 6)
        expected, expected_similarities = plain.nearest_rows([4, 9], 6)
        np.testing.assert_array_equal(found, expected)
        np.testing.assert_allclose(similarities, expected_similarities, atol=self.similarity_tolerance)

    def test_an_unknown_id_is_an_error(self) -> None:
        """A ``KeyError``, in every method that takes an id."""
        embeddings = _embeddings()
        for index, unknown in [
            (self.make_index(embeddings, None), _SIZE),
            (self.make_index(embeddings, None), -1),
            (self.make_index(embeddings, {f"item {row}": row for row in range(_SIZE)}), 0),
        ]:
            known = 0 if unknown else "item 0"
            with pytest.raises(KeyError):
                index.get_embedding(unknown)
            with pytest.raises(KeyError):
                index.get_nns_by_id(unknown, 3)
            with pytest.raises(KeyError):
                index.get_similarity(known, unknown)

    def test_fewer_than_one_neighbour_is_an_error(self) -> None:
        """A ``ValueError``."""
        index = self.make_index(_embeddings(), None)
        with pytest.raises(ValueError):  # noqa: PT011 - the words are the index's own
            index.get_nns_by_id(0, 0)
        with pytest.raises(ValueError):  # noqa: PT011 - the words are the index's own
            index.get_nns_by_embedding(np.ones(_DIMS, dtype=np.float32), -1)

    def test_a_vector_of_other_dimensions_or_with_nan_is_an_error(self) -> None:
        """A ``ValueError``."""
        index = self.make_index(_embeddings(), None)
        with pytest.raises(ValueError):  # noqa: PT011 - the words are the index's own
            index.get_nns_by_embedding(np.ones(_DIMS + 1, dtype=np.float32), 3)
        with pytest.raises(ValueError):  # noqa: PT011 - the words are the index's own
            index.get_nns_by_embedding(np.full(_DIMS, np.nan, dtype=np.float32), 3)


def _embeddings(seed: int = 11) -> npt.NDArray[np.float32]:
    rng = np.random.default_rng(seed)
    lengths = rng.uniform(0.1, 10, size=(_SIZE, 1))
    return (rng.standard_normal((_SIZE, _DIMS)) * lengths).astype(np.float32)


def _cosines(embeddings: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    units = embeddings.astype(np.float64)
    units /= np.linalg.norm(units, axis=1, keepdims=True)
    cosines: npt.NDArray[np.float64] = units @ units.T
    return cosines
