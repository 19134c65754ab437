from __future__ import annotations

import copy
import pickle
import time
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from recoder.embedding import ExactEmbeddingsIndex, MemCacheEmbeddingsIndex
from recoder.errors import ConfigError, UnknownIdError


class Counting(ExactEmbeddingsIndex):
    """Notes what it is asked."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.asked: list[Any] = []
        self.build()

    def get_nns_by_id(self, embedding_id: Any, n: int) -> Any:
        self.asked.append((embedding_id, n))
        return super().get_nns_by_id(embedding_id, n)

    def nearest_rows(self, rows_Q: npt.ArrayLike, n: int) -> Any:
        self.asked.append((np.asarray(rows_Q).tolist(), n))
        return super().nearest_rows(rows_Q, n)


def counting(**settings: Any) -> Counting:
    index = Counting(np.random.default_rng(0).standard_normal((20, 4)), **settings)
    index.asked.clear()
    return index


def by_id(index: Counting) -> list[Any]:
    """The calls of ``get_nns_by_id``, which goes through ``nearest_rows`` itself."""
    return [call for call in index.asked if not isinstance(call[0], list)]


def test_the_same_question_is_asked_once() -> None:
    inner = counting()
    cache = MemCacheEmbeddingsIndex(inner)
    for _ in range(3):
        assert cache.get_nns_by_id(2, 5) == ExactEmbeddingsIndex.get_nns_by_id(inner, 2, 5)
    assert by_id(inner) == [(2, 5)]


@pytest.mark.parametrize("answer", [(3, 7), {3: 0.1, 7: 0.2}, np.array([3, 7]), [3, 7], ([3, 7], [0.1, 0.2])])
def test_an_index_of_ones_own_gets_its_own_kind_of_answer_back(answer: Any) -> None:
    class Own(ExactEmbeddingsIndex):
        def get_nns_by_id(self, embedding_id: Any, n: int) -> Any:
            return copy.deepcopy(answer)

    cache = MemCacheEmbeddingsIndex(Own(np.eye(4)))
    for _ in range(3):
        found: Any = cache.get_nns_by_id(2, 2)
        assert type(found) is type(answer)
        assert np.array_equal(found, answer) if isinstance(found, np.ndarray) else found == answer
        if isinstance(found, list):
            found.clear()
        elif isinstance(found, tuple) and isinstance(found[0], list):
            found[0].clear()


def test_another_n_is_another_question() -> None:
    inner = counting()
    cache = MemCacheEmbeddingsIndex(inner)
    assert len(cache.get_nns_by_id(2, 5)) == 5
    assert len(cache.get_nns_by_id(2, 3)) == 3
    assert len(cache.get_nns_by_id(2, 7)) == 7
    assert by_id(inner) == [(2, 5), (2, 3), (2, 7)]


def test_beyond_max_entries_the_least_recently_used_goes() -> None:
    inner = counting()
    cache = MemCacheEmbeddingsIndex(inner, max_entries=2)
    for row in (0, 1, 0, 2, 0, 1):
        cache.get_nns_by_id(row, 3)
    assert by_id(inner) == [(0, 3), (1, 3), (2, 3), (1, 3)]


def test_answers_with_distances_do_not_alias_the_cache() -> None:
    cache = MemCacheEmbeddingsIndex(counting(include_distances=True))
    first = cache.get_nns_by_id(0, 4)
    expected = (list(first[0]), list(first[1]))
    for _ in range(2):
        ids, distances = cache.get_nns_by_id(0, 4)
        assert (ids, distances) == expected
        ids.clear()
        distances[0] = 99.0
    first[0].append(7)
    assert cache.get_nns_by_id(0, 4) == expected


def test_rows_that_are_not_kept_are_asked_for_together() -> None:
    inner = counting()
    cache = MemCacheEmbeddingsIndex(inner)
    cache.nearest_rows([3, 5], 4)
    rows, similarities = cache.nearest_rows([5, 7, 3, 9, 7], 4)
    assert inner.asked == [([3, 5], 4), ([7, 9], 4)]
    expected_rows, expected_similarities = ExactEmbeddingsIndex.nearest_rows(inner, [5, 7, 3, 9, 7], 4)
    np.testing.assert_array_equal(rows, expected_rows)
    np.testing.assert_array_equal(similarities, expected_similarities)
    rows[:] = -5
    np.testing.assert_array_equal(cache.nearest_rows([5], 4)[0], expected_rows[:1])


def test_more_rows_than_it_keeps_are_answered_all_the_same() -> None:
    inner = counting()
    rows, _ = MemCacheEmbeddingsIndex(inner, max_entries=2).nearest_rows(range(20), 4)
    np.testing.assert_array_equal(rows, ExactEmbeddingsIndex.nearest_rows(inner, range(20), 4)[0])
    assert MemCacheEmbeddingsIndex(inner).nearest_rows([], 4)[0].shape[0] == 0


def test_errors_are_handed_on_and_not_kept() -> None:
    cache = MemCacheEmbeddingsIndex(counting())
    for _ in range(2):
        with pytest.raises(UnknownIdError):
            cache.get_nns_by_id(20, 3)
        with pytest.raises(ConfigError):
            cache.get_nns_by_id(0, 0)
        with pytest.raises(UnknownIdError):
            cache.nearest_rows([20], 3)


def test_a_cache_of_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match="max_entries is 0"):
        MemCacheEmbeddingsIndex(counting(), max_entries=0)


@pytest.mark.parametrize("value", ["a", 2.5, True, None])
def test_numbers_of_another_type_are_refused_even_where_an_answer_is_kept(value: Any) -> None:
    with pytest.raises(ConfigError, match=f"max_entries is {value!r}; it must be a whole number of at least 1"):
        MemCacheEmbeddingsIndex(counting(), max_entries=value)
    cache = MemCacheEmbeddingsIndex(counting())
    cache.get_nns_by_id(3, 1)
    cache.nearest_rows([3], 1)
    for call in (lambda: cache.get_nns_by_id(3, value), lambda: cache.nearest_rows([3], value)):
        with pytest.raises(ConfigError, match=f"n is {value!r}; it must be a whole number of at least 1"):
            call()


class Leisurely(OrderedDict[Any, Any]):
    """Lets other threads go on whenever it was asked what it holds."""

    def __contains__(self, key: object) -> bool:
        found = super().__contains__(key)
        time.sleep(1e-4)
        return found


def test_threads_that_ask_at_once_each_get_their_answer() -> None:
    inner = counting()
    expected = [ExactEmbeddingsIndex.get_nns_by_id(inner, row, 3) for row in range(2)]
    cache = MemCacheEmbeddingsIndex(inner, max_entries=1)  # what one thread keeps drops what another one found
    cache._entries = Leisurely()
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda number: cache.get_nns_by_id(number % 2, 3), range(200)))
        rows = list(threads.map(lambda number: cache.nearest_rows([number % 2], 3)[0][0].tolist(), range(200)))
    assert found == rows == [expected[number % 2] for number in range(200)]


def test_a_copy_keeps_the_answers_and_goes_on_by_itself() -> None:
    index = ExactEmbeddingsIndex(np.random.default_rng(0).standard_normal((20, 4)))
    index.build()
    cache = MemCacheEmbeddingsIndex(index, max_entries=2)
    kept = cache.get_nns_by_id(2, 5)
    for other in (copy.copy(cache), copy.deepcopy(cache), pickle.loads(pickle.dumps(cache))):
        other.embedding_index = inner = counting()
        assert other.get_nns_by_id(2, 5) == kept
        assert inner.asked == []
        for row in (3, 4):
            other.get_nns_by_id(row, 5)
        assert list(cache._entries) == [("id", 2, 5)]
