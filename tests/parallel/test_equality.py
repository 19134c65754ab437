"""Several processes end with what one ends with."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from parallel.equality_worker import CASES, ITEMS, USERS, K, named, path_of, run
from parallel.launching import together

ROWS = {"items": ("items.weight", "items.bias", "item_sum.table.weight"), "users": ("users.weight",)}
"""Names of what is cut."""

WORLDS = ("items-2", "items-3", "users-2", "users-3", "items+users-4")
"""What is shared, and by how many."""

Results = Callable[[str, str, torch.dtype], list[dict[str, Any]]]


def cases(dtype: torch.dtype) -> pytest.MarkDecorator:
    """Every world with each case that it runs."""
    pairs = [(world, name) for world in WORLDS for name in named(dtype, int(world.split("-")[1]))]
    return pytest.mark.parametrize(("world", "name"), pairs)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    """Returns what came out of a case in each process of a world, which runs when it is first asked for."""
    folders: dict[str, Path] = {}

    def found(world: str, name: str, dtype: torch.dtype) -> list[dict[str, Any]]:
        parallel, size = world.split("-")
        if world not in folders:  # also if it failed: it does not run once more for every case
            folders[world] = tmp_path_factory.mktemp("world")
            together("equality_worker.py", int(size), folders[world], parallel)
        return [dict(np.load(path_of(folders[world], name, dtype, rank))) for rank in range(int(size))]

    return found


@cache
def alone(name: str, dtype: torch.dtype) -> dict[str, np.ndarray]:
    """What one process comes to."""
    before = torch.get_default_dtype()
    try:
        return run(CASES[name], None, dtype)
    finally:
        torch.set_default_dtype(before)


@cases(torch.float64)
class TestEquality:
    def test_weights_in_float64_are_those_of_one_process(self, results: Results, world: str, name: str) -> None:
        whole = alone(name, torch.float64)
        for found in results(world, name, torch.float64):
            for key, weights in whole.items():
                if not key.startswith("model/"):
                    continue
                part = weights
                for of, names in ROWS.items():
                    if key.removeprefix("model/") in names:
                        part = weights[found[of]]
                np.testing.assert_allclose(found[key], part, rtol=1e-8, atol=1e-10 * np.abs(weights).max(), err_msg=key)

    def test_losses_metrics_and_scores_are_too(self, results: Results, world: str, name: str) -> None:
        whole = alone(name, torch.float64)
        for found in results(world, name, torch.float64):
            for key in ("losses", "val_losses", "ndcg", "scores", "pairs"):
                np.testing.assert_allclose(found[key], whole[key], rtol=1e-8, atol=1e-10, err_msg=key)
            for key in ("ranked", "some", "one"):
                np.testing.assert_array_equal(found[key], whole[key], err_msg=key)

    def test_every_row_is_with_one_process_of_a_line(self, results: Results, world: str, name: str) -> None:
        found = results(world, name, torch.float64)
        parallel, size = world.split("-")
        height = int(size) // {"items": int(size), "users": 1, "items+users": 2}[parallel]
        are_users_cut = "model/users.weight" in found[0]
        expected = {"items": (ITEMS, height), "users": (USERS, height if are_users_cut else int(size))}
        for kind, (number, times) in expected.items():
            rows, counts = np.unique(np.concatenate([of_rank[kind] for of_rank in found]), return_counts=True)
            assert len(rows) == number
            assert set(counts) == {times}


@cases(torch.float32)
def test_in_float32_losses_and_lists_are_nearly_the_same(results: Results, world: str, name: str) -> None:
    whole = alone(name, torch.float32)
    for found in results(world, name, torch.float32):
        np.testing.assert_allclose(found["losses"], whole["losses"], rtol=1e-4)
        shared = [len(set(a) & set(b)) / K for a, b in zip(found["ranked"], whole["ranked"], strict=True)]
        assert np.mean(shared) >= 0.99
