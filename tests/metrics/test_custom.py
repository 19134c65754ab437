from __future__ import annotations

import importlib
import multiprocessing
import os

import numpy as np
import pytest

from recoder.errors import ConfigError
from recoder.metrics import Metric
from recoder.metrics.custom import UserLists, custom_metric_runner

LISTS = UserLists(np.array([[5, 2, -1], [-1, -1, -1]]), np.array([0, 2, 2]), np.array([2, 9]))
SOURCE = """
from recoder.metrics import Metric


class Overlap(Metric):
    def evaluate(self, x, y):
        return len(set(x) & set(y))
"""


class Dying(Metric):
    def evaluate(self, x, y) -> float:
        os._exit(1)


@pytest.fixture
def own_metric(tmp_path, monkeypatch):
    """A metric in a module of the user's own, as a script would import it."""
    (tmp_path / "recoder_test_own_metric.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(tmp_path)
    return importlib.import_module("recoder_test_own_metric").Overlap("overlap")


@pytest.fixture
def start_method():
    before = multiprocessing.get_start_method(allow_none=True)
    yield lambda method: multiprocessing.set_start_method(method, force=True)
    multiprocessing.set_start_method(before, force=True)


def test_split_lists_are_the_lists_in_parts():
    generator = np.random.default_rng(0)
    counts = generator.integers(0, 4, 11)
    offsets = np.concatenate([[0], np.cumsum(counts)])
    lists = UserLists(generator.integers(-1, 9, (11, 3)), offsets, generator.integers(0, 9, offsets[-1]))
    for size in (1, 4, 11, 50):
        parts = list(lists.split(size))
        assert [len(part.ranked_BC) for part in parts] == [min(size, 11 - start) for start in range(0, 11, size)]
        assert [pair for part in parts for pair in part] == list(lists)


def test_users_are_dealt_to_the_workers_in_small_tasks(own_metric, monkeypatch):
    monkeypatch.setattr("recoder.metrics.custom._USERS_PER_TASK", 1)
    with custom_metric_runner([own_metric], 2) as submit:
        values = submit(LISTS)()
    assert values.tolist() == [[1.0, 0.0]]


def test_lists_drop_padding_and_hold_ints():
    assert list(LISTS) == [([5, 2], [2, 9]), ([], [])]


@pytest.mark.parametrize(
    "method", [pytest.param(name, marks=pytest.mark.slow) for name in multiprocessing.get_all_start_methods()]
)
def test_processes_started_in_any_way_give_the_values(method, own_metric, start_method):
    start_method(method)
    with custom_metric_runner([own_metric], 1) as submit:
        values = submit(LISTS)()
    assert values.tolist() == [[1.0, 0.0]]


def test_worker_that_dies_is_a_clear_error():
    with (
        pytest.raises(ConfigError, match="ended before they had evaluated dying"),
        custom_metric_runner([Dying("dying")], 1) as submit,
    ):
        submit(LISTS)()
